import faulthandler
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread, Timer, get_ident
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.test import EnvironBuilder

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.core import (
    hooks,
    request_body,
    worker_threads,
)
from {{ cookiecutter.package_name }}.core.worker_threads import (
    FairSemaphore,
    RequestTimeout,
    RunningRequest,
    WorkerGuard,
    count_threads,
)


@pytest.fixture
def plain() -> Flask:
    """An application without components."""
    return Flask(__name__)


@pytest.fixture
def guard(plain: Flask, monkeypatch: pytest.MonkeyPatch) -> WorkerGuard:
    """A guard that allows one request; the test itself interrupts late ones."""
    monkeypatch.setattr(worker_threads, "QUEUE_TIMEOUT", 0.2)
    monkeypatch.setattr(worker_threads, "LAST_THREAD_TIMEOUT", 0.05)
    guard = WorkerGuard(plain, 1, 0.1)
    monkeypatch.setattr(guard, "watch", lambda: None)
    plain.wsgi_app = guard  # type: ignore[method-assign]
    plain.extensions["worker_threads"] = guard
    return guard


def test_count_threads_includes_the_queue() -> None:
    assert count_threads(load_settings({"FLASK_TESTING": "1", "WEB_THREADS": "4"})) == 9


def test_only_production_has_a_guard(make_app: Callable[..., Flask]) -> None:
    assert "worker_threads" not in make_app().extensions
    app = Flask(__name__)
    app.extensions["settings"] = load_settings({"FLASK_TESTING": "1"})
    worker_threads.init_app(app)
    assert app.extensions["worker_threads"] is app.wsgi_app


def test_semaphore_is_fair_and_its_queue_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_threads, "LAST_THREAD_TIMEOUT", 0.05)
    semaphore = FairSemaphore(1)
    assert semaphore.acquire()
    entered = []
    first = Thread(target=lambda: entered.append(semaphore.acquire()))
    first.start()
    while not semaphore.waiting:
        time.sleep(0.001)
    # The last thread waits once; the next request is rejected immediately.
    assert not semaphore.acquire()
    started = time.monotonic()
    assert not semaphore.acquire()
    assert time.monotonic() - started < 0.04
    semaphore.release()
    first.join()
    assert entered == [True]
    assert not semaphore.is_overloaded
    semaphore.release()
    assert semaphore.active == 0


def test_release_after_the_timeout_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_threads, "QUEUE_TIMEOUT", 0.05)
    semaphore = FairSemaphore(1)
    assert semaphore.acquire()
    assert not semaphore.acquire()
    assert not semaphore.waiting

    class Late:
        def acquire(self, timeout: float = 0) -> bool:
            if timeout:
                semaphore.release()
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(worker_threads, "Lock", Late)
    assert semaphore.acquire()


def test_liveness_probe_succeeds_while_requests_are_rejected(
    plain: Flask, guard: WorkerGuard
) -> None:
    plain.add_url_rule("/health/live", view_func=lambda: "alive")
    plain.add_url_rule("/quick", "quick", lambda: "quick")
    guard.semaphore.active = 1
    response = plain.test_client().get("/quick", buffered=True)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert plain.test_client().get("/health/live", buffered=True).text == "alive"
    Timer(0.05, guard.semaphore.release).start()
    assert plain.test_client().get("/quick", buffered=True).text == "quick"
    assert guard.semaphore.active == 0


def test_semaphore_is_released_with_the_body(plain: Flask, guard: WorkerGuard) -> None:
    file = Response(iter([b"file"]), direct_passthrough=True)
    plain.add_url_rule("/file", "file", lambda: file)
    plain.add_url_rule("/stream", view_func=lambda: Response(iter(["a", "b"])))
    response = plain.test_client().get("/stream", buffered=False)
    parts = iter(response.response)
    assert next(parts) == b"a"
    assert guard.semaphore.active == 1
    response.close()
    assert guard.semaphore.active == 0
    # The server sends a file without a wrapper.
    assert plain.test_client().get("/file").text == "file"
    assert guard.semaphore.active == 0


def test_complete_body_is_not_watched(plain: Flask, guard: WorkerGuard) -> None:
    hooks.init_app(plain)
    request_body.init_app(plain)
    plain.add_url_rule("/complete", "complete", view_func=lambda: "ab")
    plain.add_url_rule("/stream", view_func=lambda: Response(iter(["a", "b"])))
    for path, is_streamed in (("/complete", False), ("/stream", True)):
        environ = EnvironBuilder(path).get_environ()
        body = guard(environ, lambda *_: lambda _: None)
        assert isinstance(body, worker_threads.StreamedBody) == is_streamed
        assert guard.semaphore.active == 1
        assert b"".join(body) == b"ab"
        worker_threads.close(body)
        assert guard.semaphore.active == 0


def test_semaphore_is_released_after_an_error(plain: Flask, guard: WorkerGuard) -> None:
    plain.config["PROPAGATE_EXCEPTIONS"] = True
    plain.add_url_rule("/error", view_func=lambda: str(1 / 0))
    with pytest.raises(ZeroDivisionError):
        plain.test_client().get("/error", buffered=True)
    assert guard.semaphore.active == 0
    assert not guard.running


def loop() -> None:
    """Run for 10 s in Python."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture
def late(guard: WorkerGuard) -> Iterator[None]:
    """Interrupt late requests."""
    done = Event()

    def interrupt() -> None:
        while not done.is_set():
            for running in [*guard.running.values()]:
                if time.monotonic() - running.started > guard.timeout:
                    guard.interrupt(running)
            time.sleep(0.02)

    thread = Thread(target=interrupt)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.usefixtures("late")
def test_late_request_returns_503(plain: Flask, guard: WorkerGuard) -> None:
    def view() -> str:
        with suppress(Exception):
            loop()
        return "done"

    plain.add_url_rule("/late", view_func=view)
    started = time.monotonic()
    assert plain.test_client().get("/late", buffered=True).status_code == 503
    assert time.monotonic() - started < 5
    assert guard.semaphore.active == 0
    assert not guard.running
    assert not guard.late


@pytest.mark.usefixtures("late")
def test_request_may_catch_the_timeout(
    plain: Flask, guard: WorkerGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view() -> str:
        try:
            loop()
        except RequestTimeout:
            return "stopped"
        return "done"

    monkeypatch.setattr(worker_threads, "sleep", lambda _: None)
    plain.add_url_rule("/late", view_func=view)
    assert plain.test_client().get("/late", buffered=True).text == "stopped"
    assert not guard.late


@pytest.mark.usefixtures("late")
def test_late_chunk_ends_the_response(plain: Flask, guard: WorkerGuard) -> None:
    def parts() -> Iterator[str]:
        yield "a"
        loop()

    plain.add_url_rule("/stream", view_func=lambda: Response(parts()))
    # Only the second chunk is late, also on a slow machine.
    timeout, guard.timeout = guard.timeout, 60
    response = plain.test_client().get("/stream", buffered=False)
    guard.timeout = timeout
    with pytest.raises(TimeoutError):
        list(response.response)
    response.close()
    assert guard.semaphore.active == 0


def test_timeout_after_response_is_ignored(guard: WorkerGuard) -> None:
    running = guard.begin({"PATH_INFO": "/"})
    guard.running.clear()
    guard.late.add(running)
    thread = get_ident()
    Timer(0.05, worker_threads.throw, [thread]).start()
    guard.end(running)
    assert not guard.late
    # The request has ended, so there is nothing to interrupt.
    guard.interrupt(running)
    assert not guard.late


def test_watchdog_replaces_a_stuck_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(worker_threads, "CHECK_INTERVAL", 0.01)
    monkeypatch.setattr(worker_threads, "GRACE_PERIOD", 0.05)
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *_, **__: None)
    monkeypatch.setattr(os, "kill", lambda *signal: done.append(signal))
    monkeypatch.setattr(os, "_exit", done.append)
    guard = WorkerGuard(Flask(__name__), 1, 10)
    guard.throw = done.append
    stuck = guard.running[1] = RunningRequest(1, "/stuck")
    stuck.started -= 60
    guard.running[2] = RunningRequest(2, "/quick")
    Timer(0.1, guard.running.clear).start()
    monkeypatch.setattr(worker_threads, "IDLE_SECONDS", 0.1, raising=False)
    guard.watch()
    assert done[0] == stuck.thread
    assert isinstance(done[1], tuple)


def test_fork_resets_the_guard(plain: Flask, guard: WorkerGuard) -> None:
    assert plain.test_client().get("/", buffered=True).status_code == 404
    assert guard.watchdog
    guard.running[1] = RunningRequest(1, "/")
    guard.reset()
    assert not guard.running
    assert guard.watchdog is None
