"""python deploy/granian_server.py; the environment has the settings, see .env.example."""

import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings


def main() -> None:
    """Serve until a signal says to stop."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"Error: {error.message}")

    Granian(
        "{{ cookiecutter.package_name }}.wsgi:app",
        **read_address(settings.BIND),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.WEB_CONCURRENCY,
        blocking_threads=settings.WEB_THREADS,
        # A connection may wait as long for its next request: longer than the proxy keeps it, since
        # who reuses one must not find it closed. Request line and headers fit into the buffer.
        http1_settings=HTTP1Settings(header_read_timeout=75_000, max_buffer_size=32_768),
        # A worker that was killed is replaced; one that stops gets so long for its requests.
        respawn_failed_workers=True,
        respawn_interval=1,
        workers_kill_timeout=settings.WEB_TIMEOUT,
        # No access log: the application logs each request, and so does a proxy.
        log_access=False,
    ).serve(target_loader=load)


def load(target: str) -> WSGIApplication:
    """Load the application in a worker, and tell it that a body's end is not a certain one.

    granian says that it is, but gives a chunked body that breaks off as if it were whole.
    """
    # A worker sometimes does not notice that it is told to stop, until something else wakes it.
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)

    module, _, name = target.partition(":")
    wsgi_app: WSGIApplication = getattr(import_module(module), name)

    def doubt(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        del environ["wsgi.input_terminated"]
        return wsgi_app(environ, start_response)

    return doubt


def read_address(bind: str) -> dict[str, Any]:
    """Read `host:port` or `unix:/path`; the proxy runs as another user."""
    host, _, rest = bind.rpartition(":")
    if host == "unix":
        return {"uds": Path(rest), "uds_permissions": 0o666}
    return {"address": host.strip("[]"), "port": int(rest)}


if __name__ == "__main__":
    main()
