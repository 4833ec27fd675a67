from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import MessageNacked  # type: ignore[import-untyped]
from flask import Flask
from kombu import Producer

from {{ cookiecutter.package_name }}.config import SettingsError


def test_results_need_a_place(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="RESULT_URL is missing"):
        make_app(BROKER_URL="amqp://localhost")


def test_messages_are_confirmed_and_queues_replicated(broker: Any) -> None:
    assert broker.celery.conf.broker_transport_options["confirm_publish"]
    low, failed = (broker.queue(name).queue_arguments for name in ("low", "failed"))
    assert low["x-queue-type"] == failed["x-queue-type"] == "quorum"
    assert low["x-dead-letter-routing-key"] == "failed"
    assert "x-delivery-limit" not in failed


def test_a_moment_is_claimed_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "publish", Mock(side_effect=[None, MessageNacked]))
    assert [broker.claim("night"), broker.claim("night")] == [True, False]
