"""Error reports have the ID of the trace."""

from collections.abc import Callable

import pytest
import sentry_sdk
from flask import Flask
from sentry_sdk.types import Event

from .conftest import Spans


def test_report_has_the_id_of_the_trace(
    make_traced_app: Callable[..., Flask], spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    app = make_traced_app(SENTRY_DSN="http://key@127.0.0.1:9/1")
    reports: list[Event] = []
    client = sentry_sdk.get_client()
    # It returns None, so that no report is sent.
    monkeypatch.setitem(client.options, "before_send", lambda report, _: reports.append(report))
    app.test_client().get("/fail")
    client.close()
    sentry_sdk.get_global_scope().set_client(None)
    (report,) = reports
    assert report["tags"]["trace_id"] == f"{spans.named('GET /fail').context.trace_id:032x}"
