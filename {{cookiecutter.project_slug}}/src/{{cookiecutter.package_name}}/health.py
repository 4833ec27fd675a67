"""Probes: `/health/live` touches nothing, `/health/ready` asks each dependency in bounded time."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from time import perf_counter
from typing import Any

from flask import Blueprint, Flask, Response, current_app

blueprint = Blueprint("health", __name__, url_prefix="/health")


class Check:
    """A question to a dependency; while it hangs, later probes wait for the same answer."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self.ask = ask
        self.answer: Future[None] = Future()
        self.answer.set_result(None)
        self.lock = Lock()

    def start(self) -> Future[None]:
        """Ask in a thread of its own; the future fails with what `ask` raises."""
        with self.lock:
            if self.answer.done():
                self.answer = Future()
                Thread(target=self.run, args=(self.answer,), daemon=True).start()
            return self.answer

    def run(self, answer: Future[None]) -> None:
        """Ask, and keep the outcome."""
        try:
            self.ask()
        except Exception as error:  # noqa: BLE001 - any failure is the answer
            answer.set_exception(error)
        else:
            answer.set_result(None)


def init_app(app: Flask) -> None:
    """Serve the probes; parts add their checks with `add_check`."""
    app.extensions["health"] = {}
    app.register_blueprint(blueprint)


def add_check(app: Flask, name: str, ask: Callable[[], object]) -> None:
    """Let readiness depend on `ask`, which raises when the dependency is not there."""
    app.extensions["health"][name] = Check(ask)


@blueprint.get("/live")
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@blueprint.get("/ready")
def ready() -> tuple[dict[str, Any], int]:
    """Say whether all dependencies answer; 503 names those that do not. Durations are in ms."""
    started = perf_counter()
    timeout = current_app.config["READINESS_TIMEOUT"]
    answers = {name: check.start() for name, check in current_app.extensions["health"].items()}
    checks = {name: report(answer, started, timeout) for name, answer in answers.items()}
    is_ready = all(check["status"] == "ok" for check in checks.values())
    return {"status": "ok" if is_ready else "failed", "checks": checks}, 200 if is_ready else 503


def report(answer: Future[None], started: float, timeout: float) -> dict[str, Any]:
    """Wait until `timeout` seconds after `started`; of an error tell the kind, not its secrets."""
    try:
        answer.result(max(0, started + timeout - perf_counter()))
        outcome = {"status": "ok"}
    except TimeoutError:
        outcome = {"status": "failed", "error": f"no answer within {timeout} s"}
    except Exception as error:  # noqa: BLE001 - any failure is reported
        outcome = {"status": "failed", "error": type(error).__name__}
    return outcome | {"duration_ms": round((perf_counter() - started) * 1000, 1)}


@blueprint.after_request
def forbid_caching(response: Response) -> Response:
    """Keep caches from answering for us."""
    response.cache_control.no_store = True
    return response
