from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }} import tasks
from {{ cookiecutter.package_name }}.database import get_session
from {{ cookiecutter.package_name }}.tasks.running import Unavailable


@tasks.job()
def greet() -> str:
    """Be seen."""
    return "hello"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application that takes a job in a transaction, and says when it was sent."""
    app = make_app()

    @app.post("/greet/<end>")
    def ask(end: str) -> Any:
        get_session().execute(text("SELECT 1"))
        job_id = greet.enqueue()
        sent_early = tasks.find(job_id) is not None
        getattr(get_session(), end)()
        return {"early": sent_early, "sent": tasks.find(job_id) is not None}

    return app


@pytest.mark.parametrize(("end", "is_sent"), [("commit", True), ("rollback", False)])
def test_a_job_waits_for_the_commit(app: Flask, end: str, *, is_sent: bool) -> None:
    answer = app.test_client().post(f"/greet/{end}")
    assert answer.get_json() == {"early": False, "sent": is_sent}


def test_without_a_transaction_it_is_sent_at_once(app: Flask) -> None:
    with app.app_context():
        assert tasks.find(greet.enqueue())


def test_nothing_is_committed_when_no_job_would_be_taken(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Mock(check=Mock(side_effect=Unavailable))
    monkeypatch.setattr(app.extensions["tasks"], "broker", broker)
    with app.app_context():
        get_session().execute(text("SELECT 1"))
        greet.enqueue()
        with pytest.raises(Unavailable):
            get_session().commit()
    broker.send.assert_not_called()


def test_a_client_is_told_to_come_back(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Mock(check=Mock(side_effect=Unavailable), find=Mock(return_value=None))
    monkeypatch.setattr(app.extensions["tasks"], "broker", broker)
    answer = app.test_client().post("/greet/commit")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
