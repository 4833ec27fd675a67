from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery

from {{ cookiecutter.package_name }}.core.tasks.celery_redis_results import (
    RedisResults,
)


@pytest.mark.parametrize(
    ("old", "new", "is_stored"),
    [
        (None, "RETRY", True),
        ("STARTED", "RETRY", True),
        ("SUCCESS", "RETRY", False),
        ("FAILURE", "RETRY", False),
        ("FAILURE", "SENT", True),
    ],
)
def test_late_state_does_not_replace_a_final_one(
    monkeypatch: pytest.MonkeyPatch,
    old: str | None,
    new: str,
    *,
    is_stored: bool,
) -> None:
    pipe: Any = Mock()
    client = Mock(transaction=lambda function, _: function(pipe))
    monkeypatch.setattr(RedisResults, "client", client)
    backend = RedisResults(app=Celery(set_as_current=False), url="redis://localhost")
    pipe.get.return_value = old and backend.encode({"status": old}).encode()
    backend.set(backend.get_key_for_task("1"), backend.encode({"status": new}))
    assert pipe.set.called == pipe.publish.called == is_stored
