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
