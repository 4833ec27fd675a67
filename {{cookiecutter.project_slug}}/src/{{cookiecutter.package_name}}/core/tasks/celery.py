"""Celery: the application, the base class of its tasks, the dead-letter queue."""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Context as ContextVars
from functools import partial
# {% if cookiecutter.__message_ages %}
from time import time
# {% endif %}
from typing import Any

from celery import Celery, Task, current_task
from celery.app.task import Context
from celery.exceptions import BackendError, Reject
from celery.signals import celeryd_init, setup_logging, task_failure
from celery.utils import uuid
from flask import Flask, current_app, has_app_context
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps, loads

from ...config import (
    RENAMED,
    Settings,
    SettingsError,
    get_settings,
    invalid,
    register_client,
    take_client,
)
# {% if cookiecutter.__monitoring %}
from .. import monitoring
# {% endif %}
# {% if cookiecutter.monitoring == "opentelemetry" %}
from ..monitoring.otlp.jobs import sending_job
# {% endif %}
from .celery_backends import CELERY_URL_ERRORS, SENT, validate
# {% if cookiecutter.task_queue == "celery-rabbitmq" %}
from .celery_rabbitmq import (
    CLIENT_ERRORS,
    HARD_LIMIT_GRACE,
    URL_FORM,
    broker_settings,
    check_server,
    get_queue,
    url_settings,
)
# {% elif cookiecutter.task_queue == "celery-redis" %}
from .celery_redis import (
    CLIENT_ERRORS,
    HARD_LIMIT_GRACE,
    URL_FORM,
    broker_settings,
    get_queue,
    url_settings,
)
# {% endif %}
# {% if cookiecutter.__message_ages %}
from .celery_redis_ages import SENT_AT, message_age
# {% endif %}
from .circuit_breaker import CircuitBreaker
from .execution import (
    bind_log_context,
    broker_errors,
    execute,
    exit_if_unavailable,
    log_job_failure,
    log_job_retry,
    public_error,
    sender_context,
)
from .jobs import DEFAULT, EAGER_SCHEME, FAILED, QUEUES, SCHEDULER_INTERVAL, JobStatus
from .on_commit import TRANSIENT_ERRORS, send_on_commit

RENAMED.update(
    WORKER_MAX_JOBS="WORKER_MAX_TASKS_PER_CHILD",
    WORKER_PROCESSES="WORKER_CONCURRENCY",
)

# How often a worker tries to store a result: for some minutes.
RESULT_STORE_RETRIES = 20

# Other states, which a task may store by `update_state`, mean that it runs.
STATES: dict[str, Any] = {
    SENT: "queued",
    "RETRY": "retrying",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "failed",
}

# Errors of kombu and of Celery's result backends, in addition to those of the client library.
CONNECTION_ERRORS = (OperationalError, BackendError, OSError)

# Celery prefers these variables to its settings.
OVERRIDES = [
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
]


# Celery's settings for jobs that run in the process that sends them.
EAGER_CONF = {
    "task_always_eager": True,
    "task_store_eager_result": True,
    "broker_url": "memory://localhost",
    "result_backend": "cache+memory://",
}


class WorkerDiedError(Exception):
    """The worker died during each attempt of this job."""


class FlaskTask(Task):  # type: ignore[misc]
    """Base class of all tasks: sent after the commit, run in an application context."""

    autoretry_for = TRANSIENT_ERRORS
    max_retries = 4
    default_retry_delay = 1
    retry_backoff = True
    retry_jitter = True

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the task after the commit; without a transaction, immediately.

        Options are those of Celery. The log lines of the job contain the request ID and the reason,
        which the header `reason` or the log context of the sender sets. No task gets more time than
        JOB_TIME_LIMIT.
        """
        broker = self.app.broker
        if has_app_context() and broker is not (current := get_broker()):
            # Several applications in one process share their tasks.
            task = current.celery.tasks[self.name]
            return task.apply_async(args, kwargs, task_id=task_id, **options)
        task_id = task_id or uuid()
        options["confirm_timeout"] = broker.settings.BROKER_TIMEOUT
        options["headers"] = sender_context() | (options.get("headers") or {})
        # {% if cookiecutter.__message_ages %}
        options["headers"][SENT_AT] = time()
        # {% endif %}
        limits = [options.get("soft_time_limit"), self.soft_time_limit, self.time_limit]
        limit = min(filter(None, [*limits, broker.settings.JOB_TIME_LIMIT]))
        options |= {"soft_time_limit": limit, "time_limit": limit + HARD_LIMIT_GRACE}
        # Encoded now: later changes of an argument have no effect, and what JSON cannot encode
        # raises here and not after the commit.
        args, kwargs = loads(dumps((args or (), kwargs or {})))
        send = partial(super().apply_async, args, kwargs, task_id, **options)
        if options.get("retries"):
            return send()

        def store_and_send() -> None:
            with (
                broker.errors(),
                # {% if cookiecutter.monitoring == "opentelemetry" %}
                sending_job(self.name, task_id, options["headers"]),
                # {% endif %}
            ):
                self.backend.store_result(task_id, None, SENT, request=Context(task=self.name))
                send()

        send_on_commit(broker.circuit, store_and_send, broker.ping)
        return self.AsyncResult(task_id)

    def before_start(self, task_id: str, *_: Any) -> None:
        """Count attempts whose worker died, so that no job kills workers forever."""
        request = self.request
        if request.delivery_info.get("redelivered"):
            known = self.backend.get_task_meta(task_id)
            if known["status"] == "STARTED":
                request.retries = max(request.retries, (known.get("retries") or 0) + 1)
        if self.max_retries is not None and request.retries > self.max_retries:
            raise WorkerDiedError
        self.update_state(state="STARTED")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in an application context and a log context of its own."""
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        flask = self.app.broker.flask
        return in_log_context(self.request, execute, flask, self.run, *args, **kwargs)

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        """Send the next attempt; if the broker rejects it, let it redeliver this one.

        Celery 5.7.0 drops a message whose next attempt cannot be sent (`Task.retry`).
        """
        self.request.update(stamps=None, stamped_headers=None)
        try:
            return super().retry(*args, **kwargs)
        except Reject as error:
            raise Reject(error.reason, requeue=True) from error

    def on_retry(self, exc: Exception, *_: Any) -> None:
        """Log why there will be another attempt."""
        in_log_context(self.request, log_job_retry, exc)


class Broker:
    """Celery application of a Flask application, and what it adds to Celery."""

    def __init__(self, flask: Flask) -> None:
        self.flask = flask
        self.settings = get_settings(flask)
        self.circuit, self.result_circuit = CircuitBreaker(), CircuitBreaker()
        self.is_eager = is_eager(self.settings)
        self.celery = create_celery(flask.import_name, self.settings)
        self.celery.broker = self
        self.celery.set_default()

    def errors(self) -> AbstractContextManager[None]:
        """Raise `BrokerUnavailable` for an error of the broker or of the result backend."""
        # A result backend may have a client library of its own.
        others = getattr(self.celery.backend, "channel_errors", ())
        return broker_errors((*CONNECTION_ERRORS, *CLIENT_ERRORS, *others))

    def call(self, function: Callable[[Any], Any]) -> Any:
        """Call a function with a channel, once more if a pooled connection turns out to be lost."""
        with self.errors(), self.celery.pool.acquire(block=True) as connection:
            retrying = connection.autoretry(function, max_retries=1, interval_start=0)
            result, _ = retrying()
            return result

    def ping(self) -> None:
        """Raise `BrokerUnavailable` if the broker does not respond."""
        self.call(partial(message_count, DEFAULT))

    def get_status(self, job_id: str) -> JobStatus | None:
        """Return the status of a job, or None if it is unknown or expired."""
        with self.errors():
            meta = self.celery.backend.get_task_meta(job_id)
        name, result = meta["status"], meta["result"]
        if name == "PENDING":
            return None
        status = JobStatus(
            id=job_id,
            name=meta.get("name") or "",
            state=STATES.get(name, "running"),
            attempts=0 if name == SENT else (meta.get("retries") or 0) + 1,
            done=meta.get("done", 0),
            total=meta.get("total"),
        )
        if status.state == "succeeded":
            status.result = result
        elif isinstance(result, BaseException):
            status.error = public_error(result)
        return status

    def queue_sizes(self) -> dict[str, int]:
        """Return the number of messages in each queue and in the dead-letter queue."""
        return {name: self.call(partial(message_count, name)) for name in (*QUEUES, FAILED)}

    # {% if cookiecutter.__message_ages %}
    def queue_ages(self) -> dict[str, float]:
        """Return the age of the oldest message of each queue in seconds."""
        return {name: self.call(partial(message_age, name)) for name in QUEUES}

    # {% elif cookiecutter.__metrics %}
    def queue_ages(self) -> dict[str, float]:
        """Return nothing: to read a message of RabbitMQ is a delivery, which counts."""
        return {}

    # {% endif %}
    def failed(self) -> list[JobStatus]:
        """Return the jobs in the dead-letter queue."""
        return self._iterate_dead_letters(retry_id=None)

    def retry(self, job_id: str) -> bool:
        """Send a failed job again; return False if it is not in the dead-letter queue."""
        return any(status.id == job_id for status in self._iterate_dead_letters(retry_id=job_id))

    def _iterate_dead_letters(self, retry_id: str | None) -> list[JobStatus]:
        """Take each message and put it back, or send it to the queue of its task."""
        statuses = []
        with self.errors(), self.celery.connection_for_write() as connection:
            queue = get_queue(FAILED).bind(connection.default_channel)
            for _ in range(queue.queue_declare().message_count):
                message = queue.get(accept=["json"])
                if message is None:
                    break
                request = Context(message.headers, headers=message.headers)
                args, kwargs, _ = message.payload
                task = self.celery.tasks[request.task]
                sender = log_context(request)["sender"]
                more = {"error": message.headers.get("error")}
                more |= {"attempts": message.headers.get("attempts", 0)}
                if request.id == retry_id:
                    task.apply_async(args, kwargs, task_id=request.id, headers=sender)
                else:
                    store_dead_letter(task, request.id, args, kwargs, sender | more)
                message.ack()
                statuses.append(JobStatus(id=request.id, name=request.task, state="failed", **more))
        return statuses


def create_celery(name: str, settings: Settings) -> Celery:
    """Create a Celery application that loses no job, limits its time and sends only JSON."""
    # It repeats `job finished`, with the result.
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)
    # It logs a traceback; `broker_errors` logs the same in one line.
    logging.getLogger("celery.backends.base").setLevel(logging.ERROR)
    celery = Celery(name, task_cls=FlaskTask, set_as_current=False)
    celery.config_from_object(f"{name}.celeryconfig")
    celery.conf.update(
        broker_connection_timeout=settings.BROKER_TIMEOUT,
        broker_connection_retry_on_startup=True,
        accept_content=["json"],
        # Workers do not serve the dead-letter queue.
        task_queues=[get_queue(name) for name in QUEUES],
        task_default_queue=DEFAULT,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
        task_annotations={"*": {"retry_backoff_max": round(settings.JOB_RETRY_BACKOFF_MAX)}},
        result_extended=True,
        # With it an unreachable result backend raises `BackendError`.
        result_backend_always_retry=True,
        result_backend_max_retries=1,
        result_expires=settings.JOB_RESULT_TTL,
        worker_prefetch_multiplier=1,
        worker_deduplicate_successful_tasks=True,
        worker_concurrency=settings.WORKER_CONCURRENCY,
        worker_max_tasks_per_child=settings.WORKER_MAX_TASKS_PER_CHILD,
        worker_max_memory_per_child=settings.WORKER_MAX_MEMORY_MB * 1024,
        worker_redirect_stdouts=False,
        beat_scheduler=f"{__package__}.celery_beat:SingletonScheduler",
        beat_max_loop_interval=SCHEDULER_INTERVAL,
        **take_client("BROKER_URL", settings),
    )
    if not is_eager(settings):
        celery.conf.update(broker_settings(settings))
    return celery


def create_conf(name: str, settings: Settings) -> dict[str, Any]:
    """Return Celery's settings for BROKER_URL."""
    errors = [
        f"{variable}: unset it, Celery would use it instead of our settings"
        for variable in filter(os.environ.get, OVERRIDES)
    ]
    conf = EAGER_CONF
    try:
        if not is_eager(settings):
            conf = validate(url_settings(settings))
    except CELERY_URL_ERRORS:
        errors.append(invalid(name, URL_FORM, settings.BROKER_URL))
    if errors:
        raise SettingsError(*errors)
    return conf


register_client(create_conf, "BROKER_URL", expected=URL_FORM)


def is_eager(settings: Settings) -> bool:
    """Return whether jobs run in the process that sends them."""
    return settings.BROKER_URL.startswith(f"{EAGER_SCHEME}:")


def get_broker() -> Broker:
    """Return the broker of the current application."""
    broker: Broker = current_app.extensions["tasks"]
    return broker


def report_progress(done: int, total: int | None = None) -> None:
    """Store how much of the current job is done; outside of a job this does nothing."""
    if current_task and current_task.request.id:
        # As a stamp it stays in the job's state when that changes.
        progress = {"done": done, "total": total}
        current_task.request.update(stamps=progress, stamped_headers=[*progress])
        current_task.update_state(state="STARTED")


def log_context(request: Context) -> dict[str, Any]:
    """Return what `bind_log_context` needs."""
    headers = request.headers or {}
    return {
        "job": request.task,
        "job_id": request.id,
        "attempt": request.retries + 1,
        "sender": {name: headers.get(name, "") for name in sender_context()},
    }


def in_log_context(
    request: Context,
    function: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call a function in context variables of its own, whose log lines contain the job."""

    def call() -> Any:
        bind_log_context(**log_context(request))
        return function(*args, **kwargs)

    return ContextVars().run(call)


def message_count(name: str, channel: Any) -> int:
    """Declare a queue and return how many messages wait in it."""
    count: int = get_queue(name).bind(channel).queue_declare().message_count
    return count


def store_dead_letter(
    task: Task,
    job_id: str,
    args: Any,
    kwargs: Any,
    headers: Mapping[str, Any],
) -> None:
    """Send a failed job to the dead-letter queue."""
    Task.apply_async(task, args, kwargs, job_id, queue=get_queue(FAILED), headers=headers)


@task_failure.connect
def handle_task_failure(
    sender: Any, exception: Exception, args: Any, kwargs: Any, **_: Any
) -> None:
    """Log a job that will not be retried, and send it to the dead-letter queue."""
    if sender.request.id is None:
        # Celery sends the signal twice for a killed job; this is the second time.
        return
    in_log_context(sender.request, log_job_failure, exception)
    if not sender.request.is_eager:
        known = log_context(sender.request)
        headers = {"error": public_error(exception), "attempts": known["attempt"]}
        store_dead_letter(sender, known["job_id"], args, kwargs, known["sender"] | headers)


@celeryd_init.connect
def prepare_worker(instance: Any, conf: Any, **_: Any) -> None:
    """Check the broker and declare all queues before `celery worker` starts."""
    # Before the first use of the result backend, which reads it once.
    conf.result_backend_max_retries = RESULT_STORE_RETRIES
    exit_without_broker(instance.app)
    # {% if cookiecutter.__monitoring %}
    # Before the processes of jobs are forked.
    monitoring.serve_process(instance.app.broker.flask, "worker")
    # {% endif %}
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.backends.base").setLevel(logging.WARNING)
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    broker = instance.app.broker
    version = broker.call(lambda channel: channel.connection.server_properties["version"])
    check_server(version, broker.settings)
    # {% endif %}


def exit_without_broker(celery: Celery) -> None:
    """End a worker or a scheduler that has no broker."""
    if celery.broker.is_eager:
        raise SystemExit("Error: without BROKER_URL jobs run in the process that sends them")
    with exit_if_unavailable():
        celery.broker.queue_sizes()


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Keep Celery from configuring logging: the application has done so."""
