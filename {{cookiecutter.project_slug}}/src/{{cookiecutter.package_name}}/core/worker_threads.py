"""Worker threads: a limit of concurrent requests, and a timeout for each request.

One thread always stays free, so that liveness probes get a response.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Lock, Thread, get_ident
from time import monotonic, sleep
from types import FrameType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from flask import Flask
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wsgi import ClosingIterator

from ..config import Settings, get_settings
# {% if cookiecutter.__monitoring %}
from . import logs, monitoring
# {% else %}
from . import logs
# {% endif %}
from .request_body import IS_COMPLETE

LIVE = "/health/live"
# Key in `environ`: the start of the request in seconds of `monotonic`.
STARTED = "worker_threads.started"

# Seconds that a request waits for its turn: in a queue thread, and in the last thread. The latter
# limits how long a liveness probe waits.
QUEUE_TIMEOUT = 1.5
LAST_THREAD_TIMEOUT = 0.5
# Seconds after WEB_TIMEOUT until the process of a request that does not end is replaced.
GRACE_PERIOD = 5
# {% if cookiecutter.wsgi_server != "granian" %}
# Seconds without a request after which a replaced process ends.
IDLE_SECONDS = 2
# {% endif %}
# Seconds between two checks of the running requests.
CHECK_INTERVAL = 0.5

log = structlog.get_logger()


def count_threads(settings: Settings) -> int:
    """Return the number of threads for a server: WEB_THREADS, as many for the queue, and one more.

    The last one responds to liveness probes and rejects requests.
    """
    return 2 * settings.WEB_THREADS + 1


def init_app(app: Flask) -> None:
    """Limit requests in production."""
    if app.debug or app.testing:
        return
    settings = get_settings(app)
    guard = WorkerGuard(app, settings.WEB_THREADS, settings.WEB_TIMEOUT)
    app.extensions["worker_threads"] = guard
    app.wsgi_app = guard  # type: ignore[method-assign]


class RequestTimeout(BaseException):
    """Raised in the thread of a late request. `except Exception` does not catch it."""


class FairSemaphore:
    """A fair semaphore (first in, first out) with a queue as long as its limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.active = 0
        self.waiting: deque[Any] = deque()
        self.is_overloaded = False
        self.lock = Lock()

    def acquire(self) -> bool:
        """Acquire the semaphore, or return False after the timeout."""
        with self.lock:
            if self.active < self.limit:
                self.active += 1
                return True
            is_last = len(self.waiting) >= self.limit
            if is_last and self.is_overloaded:
                return False
            turn = Lock()
            turn.acquire()
            self.waiting.append(turn)
        if turn.acquire(timeout=LAST_THREAD_TIMEOUT if is_last else QUEUE_TIMEOUT):
            return True
        with self.lock:
            # It may have been released after the timeout.
            if turn not in self.waiting:
                return True
            self.waiting.remove(turn)
            if is_last:
                # Reject further requests immediately until one ends.
                self.is_overloaded = True
        return False

    def release(self) -> None:
        """Release the semaphore to the request that has waited longest."""
        with self.lock:
            self.is_overloaded = False
            if self.waiting:
                self.waiting.popleft().release()
            else:
                self.active -= 1


class RunningRequest:
    """A request that is running, or the next chunk of its response."""

    __slots__ = ("path", "started", "thread")

    def __init__(self, thread: Any, path: str) -> None:
        self.thread = thread
        self.path = path
        self.started = monotonic()


class WorkerGuard:
    """WSGI middleware: limit concurrent requests to `threads`, and end requests after `timeout`."""

    def __init__(self, app: Flask, threads: int, timeout: float) -> None:
        self.app = app
        self.wsgi_app: WSGIApplication = app.wsgi_app
        self.timeout = timeout
        self.semaphore = FairSemaphore(threads)
        # A server with greenlets instead of threads replaces these.
        self.get_thread: Callable[[], Any] = get_ident
        self.get_frame: Callable[[Any], FrameType | None] = get_frame
        self.throw: Callable[[Any], object] = throw
        self.reset()
        os.register_at_fork(
            before=self.stop_timer,
            after_in_parent=self.allow_timer,
            after_in_child=self.reset,
        )

    def stop_timer(self) -> None:
        """Stop faulthandler's timer before a fork; otherwise the child waits for its thread."""
        self.timer.acquire()
        faulthandler.cancel_dump_traceback_later()

    def allow_timer(self) -> None:
        """Allow the watchdog to start the timer again."""
        self.timer.release()

    def reset(self) -> None:
        """Set the state of a new process; the requests of its parent continue there."""
        self.semaphore = FairSemaphore(self.semaphore.limit)
        self.timer = Lock()
        self.running: dict[Any, RunningRequest] = {}
        self.late: set[RunningRequest] = set()
        self.watchdog: Thread | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application when the semaphore allows it; a liveness probe is always allowed."""
        if environ["PATH_INFO"] == LIVE:
            return self.wsgi_app(environ, start_response)
        if self.watchdog is None:
            self.watchdog = Thread(target=self.watch, daemon=True)
            self.watchdog.start()
            # {% if cookiecutter.__monitoring %}
            # The first request of this process.
            monitoring.serve(self.app, threads=self.semaphore.limit)
            # {% endif %}
        started = environ[STARTED] = monotonic()
        if not self.semaphore.acquire():
            return self.reject(environ, start_response)
        if (waited_ms := (monotonic() - started) * 1000) > 1:
            logs.add_metric("queue_ms", waited_ms)
        try:
            body = self.run(environ, start_response)
        except BaseException:
            self.semaphore.release()
            raise
        if IS_COMPLETE in environ:
            return Body(self, body)
        if isinstance(body, ClosingIterator):
            return StreamedBody(self, body, environ)
        # A file. Servers send it faster if it is not wrapped.
        self.semaphore.release()
        return body

    def run(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application; return 503 at the timeout."""
        body: Iterable[bytes] = ()
        running = self.begin(environ)
        try:
            try:
                body = self.wsgi_app(environ, start_response)
            finally:
                self.end(running)
        except RequestTimeout:
            close(body)
            return self.reject(environ, start_response)
        return body

    def reject(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Return a 503 response."""
        # {% if cookiecutter.__monitoring %}
        monitoring.request_rejected()
        # {% endif %}
        with self.app.request_context(environ):
            error = self.app.handle_http_exception(ServiceUnavailable(retry_after=5))
            return self.app.finalize_request(error)(environ, start_response)

    def begin(self, environ: WSGIEnvironment) -> RunningRequest:
        """Register the request of this thread."""
        thread = self.get_thread()
        running = self.running[thread] = RunningRequest(thread, environ["PATH_INFO"])
        return running

    def end(self, running: RunningRequest) -> None:
        """Unregister a request. A pending `RequestTimeout` must not hit the next one."""
        try:
            if self.running.pop(running.thread, None):
                return
            self.late.discard(running)
            if isinstance(sys.exc_info()[1], RequestTimeout):
                return
            # It is raised here soon, unless the request has caught it.
            for _ in range(100):
                sleep(0.01)
        except RequestTimeout:
            pass

    def watch(self) -> None:
        """Interrupt late requests; replace the process if that does not end them."""
        # {% if cookiecutter.deployment == "aws-lambda" %}
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            # Lambda ends late requests. The timer would end a process that was frozen for a minute.
            return
        # {% endif %}
        while not any(
            monotonic() - late.started > self.timeout + GRACE_PERIOD for late in [*self.late]
        ):
            # If even this thread cannot run, faulthandler ends the process.
            with self.timer:
                faulthandler.dump_traceback_later(2 * self.timeout + GRACE_PERIOD, exit=True)
            for running in [*self.running.values()]:
                if monotonic() - running.started > self.timeout:
                    self.interrupt(running)
            sleep(CHECK_INTERVAL)
        self.replace()

    def interrupt(self, running: RunningRequest) -> None:
        """Raise `RequestTimeout` in a thread, unless its request has ended."""
        stack = "".join(traceback.format_stack(self.get_frame(running.thread)))
        # The thread that removes the entry decides whether the request has ended or is late.
        if self.running.pop(running.thread, None) is running:
            self.late.add(running)
            self.throw(running.thread)
            log.error("request timeout", path=running.path, timeout=self.timeout, stack=stack)

    def replace(self) -> None:
        """Let the server replace this process, after its other requests have ended."""
        log.error("process is replaced", paths=[late.path for late in self.late])
        # {% if cookiecutter.wsgi_server == "granian" %}
        # The server starts new processes before it ends the old ones.
        os.kill(os.getppid(), signal.SIGHUP)
        # {% else %}
        os.kill(os.getpid(), signal.Signals["{{ cookiecutter.__worker_stop_signal }}"])
        ends = monotonic() + self.timeout
        idle_since = monotonic()
        while monotonic() < min(ends, idle_since + IDLE_SECONDS):
            if self.running:
                idle_since = monotonic()
            sleep(0.05)
        os._exit(1)
        # {% endif %}


class Body:
    """A response body that holds the semaphore until it is sent."""

    def __init__(self, guard: WorkerGuard, body: Iterable[bytes]) -> None:
        self.guard = guard
        self.body = body

    def __iter__(self) -> Iterator[bytes]:
        """Return an iterator of the chunks."""
        return iter(self.body)

    def close(self) -> None:
        """Close the body and release the semaphore."""
        try:
            close(self.body)
        finally:
            self.guard.semaphore.release()


class StreamedBody(Body):
    """A response body of which each chunk has the timeout."""

    def __init__(self, guard: WorkerGuard, body: Iterable[bytes], environ: WSGIEnvironment) -> None:
        super().__init__(guard, body)
        self.environ = environ
        self.chunks = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        """Return the iterator."""
        return self

    def __next__(self) -> bytes:
        """Return the next chunk."""
        running = self.guard.begin(self.environ)
        try:
            try:
                return next(self.chunks)
            finally:
                self.guard.end(running)
        except RequestTimeout as error:
            raise TimeoutError("the next chunk of the response took too long") from error


def close(body: Iterable[bytes]) -> None:
    """Close a body that has a `close` method."""
    if hasattr(body, "close"):
        body.close()


def get_frame(thread: int) -> FrameType | None:
    """Return the current frame of a thread."""
    return sys._current_frames().get(thread)


def throw(thread: int) -> None:
    """Raise `RequestTimeout` in a thread when it executes Python code next."""
    kind = ctypes.py_object(RequestTimeout)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), kind)


def get_guard(app: Flask) -> WorkerGuard:
    """Return the guard of an application in production."""
    guard: WorkerGuard = app.extensions["worker_threads"]
    return guard
