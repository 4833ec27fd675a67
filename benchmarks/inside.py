"""Measure a project in this process: PACKAGE LIST ROUNDS RESULT; settings come from the environment."""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from time import perf_counter, process_time

REQUESTS = {"trivial": 1500, "cached": 1000, "uncached": 100}


def make_request(app: Callable[..., list[bytes]], address: str) -> Callable[[], bytes]:
    """Make a call of the application as a server makes it."""
    path, _, query = address.partition("?")
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

    def start(status: str, *_: object) -> None:
        assert status.startswith("200"), status

    def request() -> bytes:
        answer = app(dict(environ), start)
        body = b"".join(answer)
        if close := getattr(answer, "close", None):
            close()
        return body

    return request


def measure(request: Callable[[], object], number: int) -> dict[str, float]:
    """Take the microseconds that a request needs."""
    used, started = process_time(), perf_counter()
    for _ in range(number):
        request()
    return {"cpu": (process_time() - used) / number * 1e6, "wall": (perf_counter() - started) / number * 1e6}


def main(package: str, path: str, rounds: str, result: str) -> None:
    """Measure a trivial view, the list from the cache, and the list without it, in turns."""
    app = import_module(f"{package}.wsgi").app
    app.add_url_rule("/trivial", view_func=lambda: {"a": 1, "b": [1, 2, 3]})
    paths = {"trivial": "/trivial", "cached": path, "uncached": "/made"}
    requests = {name: make_request(app.wsgi_app, where) for name, where in paths.items()}
    # Each request is logged, as in production; to nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in requests}
    for number in range(int(rounds) + 1):
        for name, request in requests.items():
            figure = measure(request, REQUESTS[name])
            if number:  # the first one warms up
                figures[name].append(figure)
    Path(result).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
