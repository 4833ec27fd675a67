"""Labels and buckets of metrics and spans: OpenTelemetry's semantic conventions for HTTP."""

# {% if cookiecutter.__http_client %}
from collections.abc import Iterable
# {% endif %}
from wsgiref.types import WSGIEnvironment

# Methods that are labels (RFC 9110, RFC 5789). Clients may send others.
METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
# Upper bounds of durations in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# {% if cookiecutter.__cache %}
# The label of each cache metric in the log line of a request.
CACHE_RESULTS = {
    "cache_hits": "hit",
    "cache_misses": "miss",
    "cache_stale": "stale",
    "cache_errors": "error",
}
# {% endif %}


# {% if cookiecutter.__http_client %}
# Hosts that are labels. URLs from clients may have any host: these are `other`.
known_hosts: set[str] = set()


def name_hosts(hosts: Iterable[str]) -> None:
    """Let these hosts have metrics of their own."""
    known_hosts.update(hosts)


def label_host(host: str) -> str:
    """Return the host of an outgoing request as a label."""
    return host if host in known_hosts else "other"


# {% endif %}
def label_method(method: str) -> str:
    """Return the method of a request as a label; unknown methods share one."""
    return method if method in METHODS else "_OTHER"


def get_route(environ: WSGIEnvironment) -> str:
    """Return the rule of the view, such as `/notes/<int:note_id>`; "" if no rule matches.

    Flask removes its request from `environ` after the response.
    """
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return rule.rule if rule else ""
