from collections.abc import Callable
from typing import Any

import pytest
# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }}.core import tasks
from {{ cookiecutter.package_name }}.core.database import get_session


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@tasks.job()
# {% endif %}
def greet() -> str:
    return "hello"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application that sends a job in a transaction."""
    app = make_app()

    @app.post("/greet/<end>")
    def send(end: str) -> Any:
        get_session().execute(text("SELECT 1"))
        job = greet.delay()
        sent_early = tasks.get_status(job.id) is not None
        getattr(get_session(), end)()
        return {"early": sent_early, "sent": tasks.get_status(job.id) is not None}

    return app


@pytest.fixture
def unreachable(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the broker unreachable."""

    def raise_unavailable() -> None:
        raise tasks.BrokerUnavailable

    monkeypatch.setattr(app.extensions["tasks"], "ping", raise_unavailable)


@pytest.mark.parametrize(("end", "is_sent"), [("commit", True), ("rollback", False)])
def test_job_is_sent_after_the_commit(app: Flask, end: str, *, is_sent: bool) -> None:
    response = app.test_client().post(f"/greet/{end}")
    assert response.get_json() == {"early": False, "sent": is_sent}


def test_job_is_sent_immediately_without_a_transaction(app: Flask) -> None:
    with app.app_context():
        assert tasks.get_status(greet.delay().id)


@pytest.mark.usefixtures("unreachable")
def test_unreachable_broker_prevents_the_commit(app: Flask) -> None:
    with app.app_context():
        get_session().execute(text("SELECT 1"))
        job = greet.delay()
        with pytest.raises(tasks.BrokerUnavailable):
            get_session().commit()
        assert tasks.get_status(job.id) is None


@pytest.mark.usefixtures("unreachable")
def test_unreachable_broker_returns_503_with_retry_after(app: Flask) -> None:
    response = app.test_client().post("/greet/commit")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
