"""Spans, stored in a list instead of exported."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from {{ cookiecutter.package_name }}.core.monitoring.otlp.tracing import (
    tracing,
)

ENDPOINT = "http://127.0.0.1:9"


class Spans:
    def __init__(self) -> None:
        self.ended: list[Any] = []

    @property
    def exported(self) -> str:
        """All values that the exporter sends, as text."""
        return str(encode_spans(self.ended))

    def named(self, name: str) -> Any:
        """Return the only span with a name."""
        (span,) = [span for span in self.ended if span.name == name]
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def make_traced_app(
    make_app: Callable[..., Flask], spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Flask]]:
    """Function that creates an application whose spans are stored in the fixture `spans`."""

    def make(**settings: str) -> Flask:
        app = make_app(OTEL_EXPORTER_OTLP_ENDPOINT=ENDPOINT, **settings)
        monkeypatch.setattr(tracing.sdk.scope, "emit", spans.ended.append)
        # Spans of other code.
        monkeypatch.setattr(tracing.sdk.spans, "on_end", spans.ended.append)

        def ok(**_: Any) -> str:
            return "ok"

        def fail() -> str:
            raise ValueError("personal-data")

        for view in (ok, fail):
            vars(view)["access_rule"] = None
        app.add_url_rule("/ok/<int:number>", "ok", ok)
        app.add_url_rule("/fail", "fail", fail)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        return app

    yield make
    tracing.sdk = None
