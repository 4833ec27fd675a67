from collections.abc import Callable
from contextvars import Context
from typing import Any
from unittest.mock import Mock

import pytest
# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Flask, current_app, has_request_context
from flask.testing import FlaskClient
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core import tasks
from {{ cookiecutter.package_name }}.core.tasks.circuit_breaker import (
    CircuitBreaker,
)
from {{ cookiecutter.package_name }}.core.tasks.execution import broker_errors
from {{ cookiecutter.package_name }}.core.tasks.on_commit import send_on_commit

Logged = Callable[[], list[dict[str, Any]]]


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@tasks.job()
# {% endif %}
def multiply(one: int, other: int = 2) -> dict[str, Any]:
    """Check that it runs as in a worker: without a request, in a context of its own."""
    assert not has_request_context()
    assert current_app.testing
    tasks.report_progress(1, 2)
    return {"answer": one * other}


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@tasks.job()
# {% endif %}
def fail(*, expected: bool) -> None:
    if expected:
        raise tasks.JobError("There is nothing to multiply.")
    raise LookupError("password=hunter2")


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@tasks.job()
# {% endif %}
def delegate() -> None:
    multiply.delay(1)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application that sends a job."""
    app = make_app()

    @app.post("/multiply/<int:one>")
    def send(one: int) -> Any:
        status, number, headers = tasks.accepted_response(multiply.delay(one, other=3).id)
        return {"id": status.id}, number, headers

    return app


def test_job_is_a_function(app: Flask) -> None:
    with app.app_context():
        assert multiply(3) == {"answer": 6}


def test_client_reads_the_result(client: FlaskClient) -> None:
    accepted = client.post("/multiply/4")
    assert accepted.status_code == 202
    response = client.get(accepted.headers["Location"])
    assert response.headers["Cache-Control"] == "no-store"
    status = response.get_json()
    assert status.pop("name").endswith(".multiply")
    assert status == {
        "id": accepted.get_json()["id"],
        "state": "succeeded",
        "attempts": 1,
        "done": 1,
        "total": 2,
        "result": {"answer": 12},
        "error": None,
    }


def test_unknown_job_returns_404(client: FlaskClient) -> None:
    assert client.get("/api/v1/jobs/nothing").status_code == 404


@pytest.mark.parametrize("job_id", ["*", "%0A", "a%0A", "%00", "%C3%A9", "%FF", "a" * 201])
def test_malformed_job_id_reaches_no_broker(
    app: Flask,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    job_id: str,
) -> None:
    monkeypatch.setitem(app.extensions, "tasks", None)
    assert client.get(f"/api/v1/jobs/{job_id}").status_code == 404


def test_job_without_a_state_is_queued(app: Flask) -> None:
    with app.test_request_context():
        status, number, headers = tasks.accepted_response("later")
    assert (status.id, status.state, number) == ("later", "queued", 202)
    assert headers["Location"] == "/api/v1/jobs/later"


def test_log_lines_contain_sender_and_reason(client: FlaskClient, read_logs: Logged) -> None:
    request_id = client.post("/multiply/4").headers["X-Request-ID"]
    job, request = read_logs()
    assert job["event"] == "job finished"
    assert job["job"].endswith(".multiply")
    assert job["outcome"] == "succeeded"
    assert job["request_id"] == request["request_id"] == request_id
    assert job["reason"] == "POST /multiply/4"
    assert "job_id" not in request


def test_job_of_a_job_inherits_the_reason(app: Flask, read_logs: Logged) -> None:
    with app.test_request_context():
        with bound_contextvars(reason="new season"):
            delegate.delay()
        multiply.delay(1)
        with bound_contextvars(reason="audit"):
            multiply.delay(1)
    reasons = [(line["job"].rpartition(".")[2], line["reason"]) for line in read_logs()]
    assert reasons == [
        ("multiply", "new season"),
        ("delegate", "new season"),
        ("multiply", "GET /"),
        ("multiply", "audit"),
    ]


@pytest.mark.parametrize(
    ("expected", "error", "level"),
    [(True, "There is nothing to multiply.", "warning"), (False, "LookupError", "error")],
)
def test_failure_is_logged_without_secrets(
    app: Flask,
    read_logs: Logged,
    error: str,
    level: str,
    *,
    expected: bool,
) -> None:
    with app.app_context():
        status = tasks.get_status(fail.delay(expected=expected).id)
    assert status
    assert (status.state, status.error) == ("failed", error)
    _, line = read_logs()
    assert (line["event"], line["level"]) == ("job failed", level)
    # An expected error is a result, and triggers no alert.
    assert line.get("error") == (error if expected else None)
    assert ("test_eager.py" in line.get("exception", "")) != expected


@pytest.mark.parametrize("value", [object(), {1, 2}])
def test_argument_that_json_cannot_encode_is_rejected(app: Flask, value: Any) -> None:
    with app.app_context(), pytest.raises(TypeError, match="JSON"):
        multiply.delay(value)


def test_progress_outside_of_a_job_is_ignored() -> None:
    Context().run(tasks.report_progress, 1)


def test_job_is_sent_without_a_context() -> None:
    send = Mock()
    Context().run(send_on_commit, CircuitBreaker(), send, Mock())
    assert send.called


def test_commands_print_and_retry_failed_jobs(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = app.extensions["tasks"]
    failed = tasks.JobStatus(id="1", name="jobs.fail", state="failed", attempts=5, error="OSError")
    monkeypatch.setattr(broker, "failed", lambda: [failed])
    monkeypatch.setattr(broker, "retry", lambda job_id: job_id == "1")
    run = app.test_cli_runner().invoke
    assert run(args=["jobs", "failed"]).output == "1\tjobs.fail\t5\tOSError\n"
    assert run(args=["jobs", "retry", "1"]).output == "Sent 1 again.\n"


def test_eager_jobs_are_in_no_queue(app: Flask) -> None:
    run = app.test_cli_runner().invoke
    with app.app_context():
        fail.delay(expected=True)
    assert run(args=["jobs", "failed"]).output == ""
    assert run(args=["jobs", "retry", "nothing"]).exit_code == 1
    assert run(args=["jobs", "queues"]).output == "high\t0\ndefault\t0\nlow\t0\nfailed\t0\n"


@pytest.mark.parametrize("command", ["jobs queues", "jobs failed", "jobs retry 1"])
def test_command_reports_unreachable_broker(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    def raise_unavailable(*_: Any) -> None:
        raise tasks.BrokerUnavailable

    for name in ("queue_sizes", "failed", "retry"):
        monkeypatch.setattr(app.extensions["tasks"], name, raise_unavailable)
    result = app.test_cli_runner().invoke(args=command.split())
    assert result.exit_code == 1
    assert result.output.strip() == "Error: the broker does not respond: see BROKER_URL"


def test_broker_error_is_logged_in_one_line(app: Flask, read_logs: Logged) -> None:
    unavailable = pytest.raises(tasks.BrokerUnavailable)
    with app.test_request_context(), unavailable, broker_errors((OSError,)):
        raise ConnectionError("Access refused")
    (line,) = read_logs()
    assert (line["event"], line["level"]) == ("broker unavailable", "warning")
    assert line["error"] == "ConnectionError: Access refused"


@pytest.mark.parametrize(
    "url",
    [
        "kafka://server",
        # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
        "amqp://:a#secret@server",
        # {% endif %}
        # {% if cookiecutter.__redis_queue %}
        "redis://:a#secret@server",
        # {% endif %}
    ],
)
def test_invalid_broker_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="BROKER_URL: expected") as caught:
        make_app(BROKER_URL=url, RESULT_URL="cache+memory://")
    assert "secret" not in str(caught.value)
