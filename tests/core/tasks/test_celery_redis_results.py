from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from celery import Celery

from {{ cookiecutter.package_name }}.core.tasks.celery_redis_results import (
    STORE,
    RedisResults,
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Mock:
    fake = MagicMock()
    monkeypatch.setattr(RedisResults, "client", fake)
    return fake


@pytest.mark.parametrize("ttl", [60, None])
def test_state_is_stored_in_one_round_trip(client: Mock, ttl: int | None) -> None:
    backend: Any = RedisResults(app=Celery(set_as_current=False), url="redis://localhost")
    backend.expires = ttl
    backend.store_result("1", None, "SENT")
    ((call, (script, _, key, value, seconds), _),) = client.mock_calls
    assert (call, script, key, seconds) == ("eval", STORE, backend.get_key_for_task("1"), ttl or 0)
    assert backend.decode(value)["status"] == "SENT"


def test_value_of_a_group_is_stored_without_a_comparison(client: Mock) -> None:
    backend: Any = RedisResults(app=Celery(set_as_current=False), url="redis://localhost")
    backend.set(backend.get_key_for_group("1"), "{}")
    assert not client.eval.called


def test_sent_job_subscribes_to_nothing(client: Mock) -> None:
    backend: Any = RedisResults(app=Celery(set_as_current=False), url="redis://localhost")
    backend.on_task_call(None, "1")
    assert not client.mock_calls
