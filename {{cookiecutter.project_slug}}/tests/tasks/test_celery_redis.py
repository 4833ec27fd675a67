from typing import Any
from unittest.mock import Mock

import pytest


def test_a_job_is_not_given_away_while_it_runs(broker: Any) -> None:
    options = broker.celery.conf.broker_transport_options
    longest = broker.config["JOB_RETRY_MAX_DELAY"] + 2 * broker.config["JOB_TIME_LIMIT"]
    assert options["visibility_timeout"] > longest
    assert options["queue_order_strategy"] == "priority"


def test_a_moment_is_claimed_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock(set=Mock(side_effect=[True, None]))
    monkeypatch.setattr(broker.celery.backend, "client", client, raising=False)
    assert [broker.claim("night"), broker.claim("night")] == [True, False]
    assert client.set.call_args.kwargs["nx"]
