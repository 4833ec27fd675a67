"""Start granian: `python deploy/granian_server.py`. Settings are in the environment."""

# {% if cookiecutter.deployment == "systemd" %}
import os
# {% endif %}
import signal
import socket
import sys
from collections.abc import Iterable
from importlib import import_module
from multiprocessing import Process, set_start_method
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.mp import MPServer

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import (
    Settings,
    SettingsError,
    invalid,
    load_settings,
)
from {{ cookiecutter.package_name }}.core.security import log_open_operations
from {{ cookiecutter.package_name }}.core.worker_threads import count_threads


class Server(MPServer):
    """granian that survives dead workers and keeps waiting connections."""

    _shd: Any
    _ssp: Any

    def _init_shared_socket(self) -> None:
        """Share one accept queue among all workers.

        By default each worker has its own, whose connections the kernel resets when it ends.
        """
        # {% if cookiecutter.deployment == "systemd" %}
        if os.environ.get("LISTEN_PID") == str(os.getpid()):
            # systemd holds the socket (sd_listen_fds(3)), so granian must not delete its file.
            self._sso = socket.socket(fileno=3)
            is_unix = self._sso.family == socket.AF_UNIX
            # The constructor is undocumented: workers receive the holder through it.
            holder = import_module("granian.net").SocketHolder
            self._shd, self._ssp = holder(3, is_unix, self.backlog), None
            self.bind_uds = None
            return
        # {% endif %}
        super()._init_shared_socket()  # type: ignore[no-untyped-call]
        if self._ssp:
            self._shd, self._ssp = self._ssp.build(), None
            self._sso = socket.socket(fileno=self._shd.get_fd())

    def _respawn_workers(
        self, workers: Any, spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        """Replace workers, at most one each `respawn_interval`, and clear the list of restarts.

        Otherwise granian exits when a worker dies within 5.5 s of its start.
        """
        delay = max(delay, self.respawn_interval)
        super()._respawn_workers(workers, spawn_target, target_loader, delay)
        self.respawned_wrks.clear()


def main() -> None:
    """Serve until a signal ends the process."""
    settings = load_settings()
    # Only forked workers inherit the socket. The default of Python 3.14 is another one.
    set_start_method("fork")
    # granian would restart workers forever that cannot load the application, so try in a separate
    # process first.
    trial = Process(target=try_application, args=[settings])
    trial.start()
    trial.join()
    if trial.exitcode:
        sys.exit(trial.exitcode)

    Server(
        "{{ cookiecutter.package_name }}.wsgi:app",
        **parse_address(settings.BIND),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.WEB_CONCURRENCY,
        blocking_threads=count_threads(settings),
        # Idle connections stay open longer than the proxy's, so that the proxy never reuses a
        # closed one. The buffer is the limit of the request line and the headers.
        http1_settings=HTTP1Settings(header_read_timeout=75_000, max_buffer_size=32_768),
        # Killed workers are replaced; a worker that stops has WEB_TIMEOUT for its requests.
        respawn_failed_workers=True,
        respawn_interval=1,
        workers_kill_timeout=settings.WEB_TIMEOUT,
        # The application logs each request.
        log_access=False,
    ).serve(target_loader=load)


def try_application(settings: Settings) -> None:
    """Load the application, and log operations without authentication."""
    log_open_operations(create_app(settings))


def load(target: str) -> WSGIApplication:
    """Load the application in a worker, without the flag `wsgi.input_terminated`.

    granian sets it, although it passes an incomplete chunked body on as if it were complete.
    """
    # A worker sometimes does not handle its stop signal until another event wakes it up.
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)

    module, _, name = target.partition(":")
    wsgi_app: WSGIApplication = getattr(import_module(module), name)

    def without_flag(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        del environ["wsgi.input_terminated"]
        return wsgi_app(environ, start_response)

    return without_flag


def parse_address(bind: str) -> dict[str, Any]:
    """Parse `host:port` or `unix:/path`. The proxy runs as another user than the socket's."""
    host, _, rest = bind.rpartition(":")
    if host == "unix":
        return {"uds": Path(rest), "uds_permissions": 0o666}
    try:
        # granian requires an IP address.
        (*_, address), *_ = socket.getaddrinfo(host.strip("[]"), int(rest), type=socket.SOCK_STREAM)
    except OSError:
        raise SettingsError(invalid("BIND", "an address of this machine", bind)) from None
    return {"address": address[0], "port": int(rest)}


if __name__ == "__main__":
    main()
