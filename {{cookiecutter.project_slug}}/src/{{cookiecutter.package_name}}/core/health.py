"""Health checks: `/health/live` for the process, `/health/ready` for its dependencies."""

import errno
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from shutil import disk_usage
from threading import Lock, Thread
from time import perf_counter
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, current_app

from ..config import get_settings
# {% if cookiecutter.__auth %}
from .access import allow_anonymous
# {% endif %}

blueprint = Blueprint("health", __name__, url_prefix="/health")

CheckResult = dict[str, Any]

# With less free disk space some writes fail, or will soon.
MIN_FREE_BYTES = 64 * 1024 * 1024


class HealthCheck:
    """A check of a dependency. While it hangs, further requests wait for the same result."""

    def __init__(self, name: str, probe: Callable[[], object], *, required: bool) -> None:
        self.name = name
        self.probe = probe
        self.required = required
        self.result: Future[CheckResult] | None = None
        self.lock = Lock()

    def start(self) -> Future[CheckResult]:
        """Start the probe in a thread, unless the last one is still running."""
        with self.lock:
            if self.result is None or self.result.done():
                self.result = Future()
                Thread(target=self.run, args=(self.result,), daemon=True).start()
            return self.result

    def run(self, future: Future[CheckResult]) -> None:
        """Run the probe. Only the log gets the text of an error, which may contain a password."""
        started = perf_counter()
        result: CheckResult = {"status": "ok"}
        try:
            self.probe()
        except Exception as error:  # Any exception is a failure of the dependency.
            result = {"status": "failed", "error": type(error).__name__}
            structlog.get_logger().warning("not ready", check=self.name, error=str(error))
        future.set_result({**result, "duration_ms": round((perf_counter() - started) * 1000, 1)})


def init_app(app: Flask) -> None:
    """Register the endpoints; components add checks with `add_check`."""
    app.extensions["health"] = {}
    app.register_blueprint(blueprint)


def get_checks(app: Flask) -> dict[str, HealthCheck]:
    """Return the checks of an application by name."""
    checks: dict[str, HealthCheck] = app.extensions["health"]
    return checks


def add_check(app: Flask, name: str, probe: Callable[[], object], *, required: bool = True) -> None:
    """Add a check to `/health/ready`; `probe` raises if the dependency is unavailable.

    A failed check that is not required makes the application degraded; it still serves requests.
    """
    get_checks(app)[name] = HealthCheck(name, probe, required=required)


def require_disk_space(path: Path) -> None:
    """Raise OSError (ENOSPC) if the disk of an existing path is full."""
    free = disk_usage(path).free
    if free < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, f"only {free} bytes are free", str(path))


@blueprint.get("/live")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def live() -> dict[str, str]:
    """Return that the process responds."""
    return {"status": "ok"}


@blueprint.get("/ready")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def ready() -> tuple[dict[str, Any], int]:
    """Return the result of each check, and 503 if a required one failed. Durations are in ms."""
    timeout = get_settings().READINESS_TIMEOUT
    deadline = perf_counter() + timeout
    checks = get_checks(current_app)
    futures = {name: check.start() for name, check in checks.items()}
    results = {name: wait(future, deadline, timeout) for name, future in futures.items()}
    failed = [checks[name] for name, result in results.items() if result["status"] != "ok"]
    is_down = any(check.required for check in failed)
    status = "failed" if is_down else "degraded" if failed else "ok"
    return {"status": status, "checks": results}, 503 if is_down else 200


def wait(future: Future[CheckResult], deadline: float, timeout: float) -> CheckResult:
    """Wait for a result until the deadline, which is in seconds of `perf_counter`."""
    try:
        return future.result(max(0, deadline - perf_counter()))
    except TimeoutError:
        error = f"no response within {timeout} s"
        return {"status": "failed", "error": error, "duration_ms": timeout * 1000}


@blueprint.after_request
def forbid_caching(response: Response) -> Response:
    """Forbid all caches to store health checks."""
    response.cache_control.no_store = True
    return response
