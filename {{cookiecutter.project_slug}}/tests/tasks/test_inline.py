from collections.abc import Callable
from contextvars import Context
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask, current_app, has_request_context
from flask.testing import FlaskClient
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }} import tasks
from {{ cookiecutter.package_name }}.tasks import inline
from {{ cookiecutter.package_name }}.tasks.jobs import JOBS
from {{ cookiecutter.package_name }}.tasks.running import Unavailable

Logged = Callable[[], list[dict[str, Any]]]


@tasks.job(queue=tasks.HIGH, cron="15 3 * * *")
def multiply(one: int, other: int = 2) -> dict[str, Any]:
    """Do what only a worker's job can: away from the request, in a context of its own."""
    assert not has_request_context()
    assert current_app.testing
    tasks.report(1, 2)
    return {"answer": one * other}


@tasks.job()
def refuse(*, plainly: bool) -> None:
    """Fail, in words for the client or not."""
    if plainly:
        raise tasks.JobError("There is nothing to multiply.")
    raise LookupError("password=hunter2")


@tasks.job()
def delegate() -> None:
    """Have another job do it."""
    multiply.enqueue(1)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application that takes a job, for a reason that the client gives."""
    app = make_app()

    @app.post("/multiply/<int:one>")
    def ask(one: int) -> Any:
        status, number, headers = tasks.accept(multiply.enqueue(one, other=3))
        return {"id": status.id}, number, headers

    return app


def test_a_job_is_a_function(app: Flask) -> None:
    assert multiply.name == "multiply"
    assert "worker" in str(multiply.__doc__)
    with app.app_context():
        assert multiply.function(3) == multiply(3) == {"answer": 6}


def test_a_name_belongs_to_one_job() -> None:
    def multiply() -> None:
        """Have the name of another one."""

    with pytest.raises(ValueError, match=r"the name multiply, in .+ and .*test_inline"):
        tasks.job()(multiply)
    assert JOBS["multiply"].queue == tasks.HIGH


def test_a_client_asks_for_the_result(client: FlaskClient) -> None:
    taken = client.post("/multiply/4")
    assert taken.status_code == 202
    answer = client.get(taken.headers["Location"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json() == {
        "id": taken.get_json()["id"],
        "name": "multiply",
        "state": "succeeded",
        "attempts": 1,
        "done": 1,
        "total": 2,
        "result": {"answer": 12},
        "error": None,
    }


def test_an_unknown_job_is_not_found(client: FlaskClient) -> None:
    assert client.get("/api/v1/jobs/nothing").status_code == 404


def test_a_job_that_no_one_knows_yet_was_accepted(app: Flask) -> None:
    with app.test_request_context():
        status, number, headers = tasks.accept("later")
    assert (status.id, status.state, number) == ("later", "queued", 202)
    assert headers["Location"] == "/api/v1/jobs/later"


def test_its_log_lines_say_who_asked_for_it_and_why(client: FlaskClient, logged: Logged) -> None:
    request_id = client.post("/multiply/4").headers["X-Request-ID"]
    job, request = logged()
    assert job["event"] == "job"
    assert job["job"] == "multiply"
    assert job["outcome"] == "returned"
    assert job["request_id"] == request["request_id"] == request_id
    assert job["reason"] == "POST /multiply/4"
    assert "job_id" not in request


def test_the_reason_goes_on_to_the_jobs_of_a_job(app: Flask, logged: Logged) -> None:
    with app.test_request_context():
        delegate.enqueue(reason="new season")
        multiply.enqueue(1)
        with bound_contextvars(reason="audit"):
            multiply.enqueue(1)
    reasons = [(line["job"], line["reason"]) for line in logged()]
    assert reasons == [
        ("multiply", "new season"),
        ("delegate", "new season"),
        ("multiply", "GET /"),
        ("multiply", "audit"),
    ]


@pytest.mark.parametrize(
    ("plainly", "error"),
    [(True, "There is nothing to multiply."), (False, "LookupError")],
)
def test_a_failure_is_told_without_secrets(
    app: Flask,
    logged: Logged,
    error: str,
    *,
    plainly: bool,
) -> None:
    with app.app_context():
        status = tasks.find(refuse.enqueue(plainly=plainly, reason="to see it"))
        assert tasks.count()["failed"] == 1
    assert status
    assert (status.state, status.error) == ("failed", error)
    _, alert = logged()
    assert (alert["event"], alert["level"]) == ("job failed", "error")
    assert alert["reason"] == "to see it"
    assert "test_inline.py" in alert["exception"]


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_only_json_can_be_sent(app: Flask, value: object) -> None:
    with app.app_context(), pytest.raises((TypeError, ValueError), match="JSON"):
        multiply.enqueue(value)


def test_progress_outside_of_a_job_is_told_to_nobody() -> None:
    Context().run(tasks.report, 1)


def test_a_failed_job_is_listed_and_sent_again(app: Flask) -> None:
    run = app.test_cli_runner().invoke
    with app.app_context():
        job_id = refuse.enqueue(plainly=True)
    listed = f"{job_id}\trefuse\t1\tThere is nothing to multiply.\n"
    assert run(args=["jobs", "failed"]).output == listed
    assert f"Sent {job_id} again" in run(args=["jobs", "retry", job_id]).output
    assert run(args=["jobs", "failed"]).output.endswith(listed)
    assert run(args=["jobs", "retry", "nothing"]).exit_code == 1
    assert run(args=["jobs", "queues"]).output == "high\t0\ndefault\t0\nlow\t0\nfailed\t1\n"


def test_schedules_are_listed(app: Flask) -> None:
    output = app.test_cli_runner().invoke(args=["jobs", "schedule"]).output
    assert "15 3 * * *\tmultiply\n" in output
    assert "refuse" not in output


@pytest.mark.parametrize("command", ["worker", "scheduler", "worker-health"])
def test_there_is_no_worker(app: Flask, command: str) -> None:
    result = app.test_cli_runner().invoke(args=[command])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "scheduler", "jobs queues", "jobs failed"])
def test_that_nobody_answers_is_told_in_a_line(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    asked = dict.fromkeys(("work", "schedule", "count", "failed"), Mock(side_effect=Unavailable))
    monkeypatch.setattr(app.extensions["tasks"], "broker", Mock(**asked))
    result = app.test_cli_runner().invoke(args=command.split())
    assert result.exit_code == 1
    assert result.output == "Error: the broker does not answer: see BROKER_URL\n"


def test_statuses_are_forgotten_in_time(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "KEPT", 1)
    with app.app_context():
        ids = [refuse.enqueue(plainly=True), multiply.enqueue(1)]
        assert [tasks.find(job_id) is None for job_id in ids] == [True, False]
        assert tasks.count()["failed"] == 0
