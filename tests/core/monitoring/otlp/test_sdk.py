"""Limits of failures."""

import logging

from {{ cookiecutter.package_name }}.core.monitoring.otlp import sdk


def test_failed_exports_are_one_warning_per_interval() -> None:
    limit = sdk.WarningLimit()
    record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", None, None)
    assert limit.filter(record)
    assert record.levelname == "WARNING"
    assert not limit.filter(record)
    limit.next_at = 0.0
    assert limit.filter(record)


def test_dropped_items_are_counted_and_logged_once() -> None:
    sdk.DROPPED.reset()
    limit = sdk.DropLimit()
    text = "Queue full, dropping %s."
    records = [logging.LogRecord("x", 30, "", 0, text, ("Span",), None) for _ in range(9)]
    assert [record for record in records if limit.filter(record)] == records[:1]
    assert records[0].getMessage() == "Queue full, dropping Span. (until now 1 times)"
    assert sdk.DROPPED.read(is_delta=False)[1] == {("Span",): [9, 9]}
