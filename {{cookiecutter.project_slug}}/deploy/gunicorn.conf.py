"""Configuration of gunicorn; gunicorn_server.py loads it. Settings are in the environment."""

import os
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Threads are the default behind a proxy, which buffers slow clients. gevent supports many slow
# clients without a proxy, and requests that mostly wait for other services. It must patch the
# standard library before the application imports anything.
worker_class = os.environ.get("WEB_WORKER_CLASS") or "{{ cookiecutter.__worker_class }}"
if worker_class == "gevent":
    gevent = import_module(worker_class)
    import_module(f"{worker_class}.monkey").patch_all()

from {{ cookiecutter.package_name }} import create_app  # noqa: E402
from {{ cookiecutter.package_name }}.config import (  # noqa: E402
    SettingsError,
    find_public_addresses,
    invalid,
    load_settings,
)
from {{ cookiecutter.package_name }}.core.security import (  # noqa: E402
    log_open_operations,
)
from {{ cookiecutter.package_name }}.core.worker_threads import (  # noqa: E402
    RequestTimeout,
    count_threads,
    get_guard,
)

settings = load_settings()
# With SCRIPT_NAME gunicorn responds with 500 to paths outside of it, such as health checks.
if prefix := os.environ.get("SCRIPT_NAME"):
    raise SettingsError(invalid("SCRIPT_NAME", "URL_PREFIX instead", prefix))

wsgi_app = "{{ cookiecutter.package_name }}.wsgi:app"
bind = settings.BIND
workers = settings.WEB_CONCURRENCY
threads = count_threads(settings)

# Load the application once and fork it, which saves memory. Greenlets do not survive a fork.
preload_app = worker_class == "gthread"


def on_starting(server: Any) -> None:
    """Check the addresses in debug mode; GUNICORN_CMD_ARGS and arguments override BIND."""
    addresses = {f"--bind {address}": address for address in server.cfg.bind}
    is_production = not (settings.DEBUG or settings.TESTING)
    if not is_production and (errors := find_public_addresses(addresses)):
        raise SettingsError(*errors)


def when_ready(server: Any) -> None:
    """Log operations without authentication."""
    if preload_app:
        log_open_operations(server.app.wsgi())


def try_application() -> None:
    """Load the application in a process that ends, and log operations without authentication."""
    log_open_operations(create_app(settings))


# gunicorn would restart workers forever that cannot load it, so try in a separate process first.
if not preload_app:
    trial = get_context("fork").Process(target=try_application)
    trial.start()
    trial.join()
    if trial.exitcode:
        sys.exit(trial.exitcode)

# Many more than threads: idle connections of the proxy count too, and at this limit a worker
# accepts no further connection.
worker_connections = 1000

# Longer than the proxy's, so that the proxy never reuses a connection that is closed here.
keepalive = 75

# A worker whose main thread hangs is killed after `timeout`; a worker that stops has as much time
# for its requests. The application itself ends late requests.
timeout = graceful_timeout = settings.WEB_TIMEOUT

# Restart workers to limit memory leaks. A much lower number slows requests down.
max_requests = 100_000
max_requests_jitter = 10_000

limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190

# The application handles X-Forwarded-Proto: TRUSTED_PROXY_HOPS.
forwarded_allow_ips = ""

# Workers update a heartbeat file, which may be slow on a disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# The socket is created in the home directory, which may be read-only.
control_socket_disable = True

# The application logs each request.
accesslog = None

if worker_class == "gevent":

    def post_worker_init(worker: Any) -> None:
        """Let the application limit greenlets instead of threads."""
        guard = get_guard(worker.wsgi)
        guard.semaphore.limit = worker_connections * 9 // 10
        guard.get_thread = gevent.getcurrent
        guard.get_frame = lambda greenlet: greenlet.gr_frame
        guard.throw = lambda greenlet: gevent.kill(greenlet, RequestTimeout)

    def post_request(_: Any, request: Any, *__: Any) -> None:
        """Discard the rest of a request body, or close the connection if it is too long.

        gunicorn itself would read all of it without a switch to other greenlets.
        """
        part = 65_536
        with suppress(Exception), gevent.Timeout(5, exception=False):
            for _part in range(0, settings.MAX_CONTENT_LENGTH + 1, part):
                if not request.body.read(part):
                    return
                gevent.sleep(0)
        request.force_close()
