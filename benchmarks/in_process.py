"""Measure a project without an HTTP server. Arguments: PACKAGE LIST ROUNDS RESULT.

The settings are read from the environment.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.measurements import alternate

# Number of requests per round.
REQUESTS = {"trivial": 1500, "cached": 1000, "uncached": 100}


def make_request(app: Callable[..., list[bytes]], url: str) -> Callable[[], bytes]:
    """Return a function that calls the application as a WSGI server does."""
    path, _, query = url.partition("?")
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }

    def start_response(status: str, *_: object) -> None:
        assert status.startswith("200"), status

    def request() -> bytes:
        response = app(dict(environ), start_response)
        body = b"".join(response)
        if close := getattr(response, "close", None):
            close()
        return body

    return request


def measure_request(request: Callable[[], object], number: int) -> dict[str, float]:
    """Return the mean CPU time and wall time of a request in microseconds."""
    cpu_started, wall_started = process_time(), perf_counter()
    for _ in range(number):
        request()
    return {
        "cpu": (process_time() - cpu_started) / number * 1e6,
        "wall": (perf_counter() - wall_started) / number * 1e6,
    }


def main(package: str, path: str, rounds: str, result: str) -> None:
    """Measure a trivial view, the cached list and the uncached list in alternation; write JSON to `result`."""
    app = import_module(f"{package}.wsgi").app
    paths = {"trivial": "/small", "cached": path, "uncached": "/uncached"}
    requests = {name: make_request(app.wsgi_app, url) for name, url in paths.items()}
    # Each request is logged, as in production, to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    targets = {name: partial(measure_request, request, REQUESTS[name]) for name, request in requests.items()}
    Path(result).write_text(json.dumps(alternate(targets, int(rounds))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
