"""OpenTelemetry: traces, metrics and logs by OTLP over HTTP."""

from flask import Flask, got_request_exception

from ....config import get_settings
# {% if cookiecutter.__sql %}
from . import database
# {% elif cookiecutter.__nosql %}
from . import operations
# {% endif %}
from .requests import record_exception
from .tracing import tracing

ENVIRONMENT = "deployment.environment.name"


# {% if cookiecutter.deployment == "aws-lambda" %}
def flush() -> None:
    """Export what waits, before the process is frozen; it takes up to 3 s."""
    if tracing.sdk:
        tracing.sdk.flush()


# {% endif %}
def init_app(app: Flask) -> None:
    """Export if OTEL_EXPORTER_OTLP_ENDPOINT is set; otherwise the SDK is not even imported."""
    settings = get_settings(app)
    exporters = {
        "traces": settings.OTEL_TRACES_EXPORTER,
        "metrics": settings.OTEL_METRICS_EXPORTER,
        "logs": settings.OTEL_LOGS_EXPORTER,
    }
    signals = frozenset(signal for signal, name in exporters.items() if name == "otlp")
    if settings.OTEL_SDK_DISABLED or not (settings.OTEL_EXPORTER_OTLP_ENDPOINT and signals):
        # Another application of this process may have started it.
        tracing.sdk = None
        return
    # Imported here: their import is expensive.
    from . import sdk

    environment = "development" if app.debug else "production"
    attributes = (("service.version", settings.APP_VERSION), (ENVIRONMENT, environment))
    endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT
    tracing.start(settings, sdk.get_sdk(endpoint, signals, attributes))
    got_request_exception.connect(record_exception, app)
    # {% if cookiecutter.__sql %}
    database.instrument(app.extensions["database"].kw["bind"])
    # {% elif cookiecutter.__nosql %}
    operations.instrument(app)
    # {% endif %}
    # {% if cookiecutter.__cache %}
    from . import cache

    cache.instrument(app.extensions["cache"], settings)
    # {% endif %}
