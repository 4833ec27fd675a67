"""Monitoring: components call these functions, and a request calls no others.

# {% if cookiecutter.monitoring == "prometheus" %}
Define your own metrics with `Counter`, `Gauge` and `Histogram` from here: docs/monitoring.md.
# {% else %}
Start your own spans with OpenTelemetry's `get_tracer`: docs/opentelemetry.md.
# {% endif %}
"""

from .conventions import get_route
# {% if cookiecutter.monitoring == "opentelemetry" %}
from .otlp import init_app
# {% endif %}
# {% if cookiecutter.__task_telemetry %}
from .otlp.jobs import (
    broker_called,
    scheduler_ran,
    serve_process,
    task_ended,
    task_finished,
    task_started,
)
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from .otlp.requests import request_finished, request_rejected, request_started, serve
from .otlp.tracing import add_trace_context
# {% elif cookiecutter.monitoring == "prometheus" %}
from .prometheus import (
    Counter,
    Gauge,
    Histogram,
    init_app,
    request_finished,
    request_rejected,
    serve,
)
# {% endif %}
# {% if cookiecutter.__cache_metrics %}
from .prometheus.cache import cache_failed, cache_recovered
# {% endif %}
# {% if cookiecutter.__sql_metrics %}
from .prometheus.database import observe_pool, query_finished
# {% endif %}
# {% if cookiecutter.__http_client_metrics %}
from .prometheus.http_client import call_finished
# {% endif %}
# {% if cookiecutter.__nosql_metrics %}
from .prometheus.operations import (
    connection_closed,
    connection_opened,
    connection_returned,
    connection_taken,
    query_finished,
)
# {% endif %}
# {% if cookiecutter.__task_metrics %}
from .prometheus.tasks import (
    broker_called,
    scheduler_ran,
    serve_process,
    task_ended,
    task_finished,
    task_started,
)
# {% endif %}

__all__ = [
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    "add_trace_context",
    # {% elif cookiecutter.monitoring == "prometheus" %}
    "Counter",
    "Gauge",
    "Histogram",
    # {% endif %}
    # {% if cookiecutter.__task_monitoring %}
    "broker_called",
    # {% endif %}
    # {% if cookiecutter.__cache_metrics %}
    "cache_failed",
    "cache_recovered",
    # {% endif %}
    # {% if cookiecutter.__http_client_metrics %}
    "call_finished",
    # {% endif %}
    # {% if cookiecutter.__nosql_metrics %}
    "connection_closed",
    "connection_opened",
    "connection_returned",
    "connection_taken",
    # {% endif %}
    "get_route",
    "init_app",
    # {% if cookiecutter.__sql_metrics %}
    "observe_pool",
    # {% endif %}
    # {% if cookiecutter.__database_metrics %}
    "query_finished",
    # {% endif %}
    "request_finished",
    "request_rejected",
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    "request_started",
    # {% endif %}
    # {% if cookiecutter.__task_monitoring %}
    "scheduler_ran",
    # {% endif %}
    "serve",
    # {% if cookiecutter.__task_monitoring %}
    "serve_process",
    "task_ended",
    "task_finished",
    "task_started",
    # {% endif %}
]
