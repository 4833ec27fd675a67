"""Probes: `/health/live` touches nothing, `/health/ready` asks each dependency in bounded time."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from time import perf_counter
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, current_app

blueprint = Blueprint("health", __name__, url_prefix="/health")

Outcome = dict[str, Any]


class Check:
    """A question to a dependency; while it hangs, later probes wait for the same answer."""

    def __init__(self, name: str, ask: Callable[[], object], *, is_vital: bool) -> None:
        self.name = name
        self.ask = ask
        self.is_vital = is_vital
        self.answer: Future[Outcome] | None = None
        self.lock = Lock()

    def start(self) -> Future[Outcome]:
        """Ask in a thread of its own, unless the last question still waits."""
        with self.lock:
            if self.answer is None or self.answer.done():
                self.answer = Future()
                Thread(target=self.run, args=(self.answer,), daemon=True).start()
            return self.answer

    def run(self, answer: Future[Outcome]) -> None:
        """Ask, and tell how it went: clients learn the kind of an error, the log its text."""
        started = perf_counter()
        outcome: Outcome = {"status": "ok"}
        try:
            self.ask()
        except Exception as error:  # noqa: BLE001 - any failure is the answer
            outcome = {"status": "failed", "error": type(error).__name__}
            structlog.get_logger().warning("not ready", check=self.name, error=str(error))
        answer.set_result({**outcome, "duration_ms": round((perf_counter() - started) * 1000, 1)})


def init_app(app: Flask) -> None:
    """Serve the probes; parts add their checks with `add_check`."""
    app.extensions["health"] = {}
    app.register_blueprint(blueprint)


def add_check(
    app: Flask,
    name: str,
    ask: Callable[[], object],
    *,
    is_vital: bool = True,
) -> None:
    """Let readiness depend on `ask`, which raises when the dependency is not there.

    Without one that is not vital the application is degraded, and takes requests all the same.
    """
    app.extensions["health"][name] = Check(name, ask, is_vital=is_vital)


@blueprint.get("/live")
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/ready")
def ready() -> tuple[dict[str, Any], int]:
    """Say which dependencies answer; 503 when a vital one does not. Durations are in ms."""
    timeout = current_app.config["READINESS_TIMEOUT"]
    deadline = perf_counter() + timeout
    checks: dict[str, Check] = current_app.extensions["health"]
    answers = {name: check.start() for name, check in checks.items()}
    outcomes = {name: wait(answer, deadline, timeout) for name, answer in answers.items()}
    failed = [checks[name] for name, outcome in outcomes.items() if outcome["status"] != "ok"]
    is_down = any(check.is_vital for check in failed)
    status = "failed" if is_down else "degraded" if failed else "ok"
    return {"status": status, "checks": outcomes}, 503 if is_down else 200


def wait(answer: Future[Outcome], deadline: float, timeout: float) -> Outcome:
    """Wait for an answer until the deadline, on the clock of `perf_counter`."""
    try:
        return answer.result(max(0, deadline - perf_counter()))
    except TimeoutError:
        error = f"no answer within {timeout} s"
        return {"status": "failed", "error": error, "duration_ms": timeout * 1000}


@blueprint.after_request
def forbid_caching(response: Response) -> Response:
    """Keep caches from answering for us."""
    response.cache_control.no_store = True
    return response
