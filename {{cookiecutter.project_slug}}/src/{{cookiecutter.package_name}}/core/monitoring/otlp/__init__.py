"""OpenTelemetry: traces, metrics and logs by OTLP over HTTP."""

from flask import Flask, got_request_exception

from ....config import get_settings
# {% if cookiecutter.__database %}
from . import database
# {% endif %}
from .requests import record_exception
from .tracing import tracing


def init_app(app: Flask) -> None:
    """Export if OTEL_EXPORTER_OTLP_ENDPOINT is set; otherwise the SDK is not even imported."""
    settings = get_settings(app)
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        # Another application of this process may have started it.
        tracing.sdk = None
        return
    # Imported here: their import is expensive.
    from . import sdk

    endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT
    exports_logs = settings.OTEL_LOGS_EXPORTER == "otlp"
    tracing.start(settings, sdk.get_sdk(endpoint, exports_logs=exports_logs))
    got_request_exception.connect(record_exception, app)
    # {% if cookiecutter.__database %}
    database.instrument(app.extensions["database"].kw["bind"])
    # {% endif %}
    # {% if cookiecutter.__cache %}
    from . import cache

    cache.instrument(app.extensions["cache"], settings)
    # {% endif %}


def stop() -> None:
    """Export what waits, for processes that end without `atexit`; it takes up to 3 s."""
    if tracing.sdk:
        tracing.sdk.stop()
