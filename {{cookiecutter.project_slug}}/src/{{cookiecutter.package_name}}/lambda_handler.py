"""The handler of AWS Lambda: requests from API Gateway, a function URL or a load balancer.

Lambda imports this module once for each instance of the function, and freezes the instance after
each response. A thread does not run until the next request, so the response waits for all threads.
"""

import gc
import threading
from collections.abc import Iterable
from itertools import count
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.types import StartResponse, WSGIEnvironment

from apig_wsgi import make_lambda_handler

# {% if cookiecutter.error_tracking == "sentry" %}
from .core.error_tracking import flush as flush_error_reports
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from .core.monitoring.otlp import flush as flush_telemetry
# {% endif %}
from .wsgi import app

# Seconds that a response waits for a thread, such as one that sends a mail.
THREAD_TIMEOUT = 10

Event = dict[str, Any]
Headers = list[tuple[str, str]]


def handle_request(event: Event, context: object) -> dict[str, Any]:
    """Return the response to a request."""
    try:
        response: dict[str, Any] = respond(drop_ambiguous_headers(event), context)
        return response
    finally:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join(THREAD_TIMEOUT)
        # {% if cookiecutter.monitoring == "opentelemetry" %}
        flush_telemetry()
        # {% endif %}
        # {% if cookiecutter.error_tracking == "sentry" %}
        flush_error_reports()
        # {% endif %}


def drop_ambiguous_headers(event: Event) -> Event:
    """Drop headers with an underscore, which WSGI cannot distinguish from those with a hyphen."""
    kept = {
        key: {name: value for name, value in (event[key] or {}).items() if "_" not in name}
        for key in ("headers", "multiValueHeaders")
        if key in event
    }
    return event | kept


def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Call the application as a server does: the gateway is its socket, and no proxy."""
    event: Event = environ["apig_wsgi.full_event"]
    correct_request(environ, event)

    def start(status: str, headers: Headers, *error: Any) -> Any:
        if not environ["apig_wsgi.multi_value_headers"]:
            headers = join_headers(headers)
        return start_response(status, headers, *error)

    return app(environ, start)


def correct_request(environ: WSGIEnvironment, event: Event) -> None:
    """Set what apig-wsgi (2.20.0) derives from headers of the client, or not at all."""
    request = event["requestContext"]
    path = event["rawPath"] if "rawPath" in event else event["path"]
    # Some gateways decode the path, and others do not.
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    if request.get("path", "").endswith(path):
        # The stage of a REST API.
        environ["SCRIPT_NAME"] = request["path"].removesuffix(path)

    # The gateway appends the address of its client. Others in the header are the client's claims.
    forwarded = environ.pop("HTTP_X_FORWARDED_FOR", "").replace(" ", "").split(",")
    environ["REMOTE_ADDR"] = peer = find_peer(request) or forwarded[-1]
    if forwarded[-1] == peer:
        forwarded.pop()
    if any(forwarded):
        environ["HTTP_X_FORWARDED_FOR"] = ",".join(forwarded)

    for name, values in (event.get("multiValueHeaders") or {}).items():
        if name.lower() == "cookie":
            environ["HTTP_COOKIE"] = "; ".join(values)
    if not environ.get("HTTP_COOKIE"):
        environ.pop("HTTP_COOKIE", None)


def find_peer(request: Event) -> str:
    """Return the IP address of API Gateway's client; empty for a load balancer."""
    source: Event = request.get("http") or request.get("identity") or {}
    return str(source.get("sourceIp") or "")


def join_headers(headers: Headers) -> Headers:
    """Return each header once: the response of the function has one value for each name.

    Cookies cannot be joined, so the name of each has upper and lower case letters of its own.
    """
    joined: dict[str, list[str]] = {}
    spellings = map(spell_set_cookie, count())
    for name, value in headers:
        key = next(spellings) if name.lower() == "set-cookie" else name.title()
        joined.setdefault(key, []).append(value)
    return [(name, ", ".join(values)) for name, values in joined.items()]


def spell_set_cookie(number: int) -> str:
    """Return the name of the header; each bit of the number selects the case of a letter."""
    letters = [
        letter.swapcase() if number >> bit & 1 else letter for bit, letter in enumerate("SetCookie")
    ]
    return "".join([*letters[:3], "-", *letters[3:]])


respond = make_lambda_handler(serve, binary_support=True)

# What has been imported lives as long as the process, so no collection needs to visit it.
gc.freeze()
gc.enable()
