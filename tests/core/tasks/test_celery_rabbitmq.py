from collections.abc import Callable
from contextlib import nullcontext
from ssl import CERT_REQUIRED
from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import (  # type: ignore[import-untyped]
    AccessRefused,
    MessageNacked,
    NotAllowed,
    NotFound,
)
from celery import Task, shared_task
from flask import Flask
from kombu import Producer

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core import tasks
from {{ cookiecutter.package_name }}.core.tasks.celery_rabbitmq import (
    check_server,
    claim,
    get_queue,
    url_settings,
)


@shared_task
def greet() -> None:
    pass


def test_missing_result_url_is_reported(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="RESULT_URL: expected file:///path"):
        make_app(BROKER_URL="amqp://localhost")


@pytest.mark.parametrize(
    "url", ["amqp://user:a#b@host//", "amqp://host//?ssl_cert_reqs=none", "amqps://one//;two//"]
)
def test_invalid_broker_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="BROKER_URL: expected amqp://"):
        make_app(BROKER_URL=url, RESULT_URL="cache+memory://")


def test_tls_verifies_host_name() -> None:
    settings = Mock(BROKER_URL="amqps://user@host/name", BROKER_CA_FILE="/ca.pem")
    tls = url_settings(settings)["broker_use_ssl"]
    assert tls == {"ca_certs": "/ca.pem", "cert_reqs": CERT_REQUIRED, "server_hostname": "host"}


def test_messages_are_confirmed_and_queues_replicated(broker: Any) -> None:
    assert broker.celery.conf.broker_transport_options["confirm_publish"]
    low, failed = (get_queue(name).queue_arguments for name in ("low", "failed"))
    assert low["x-queue-type"] == failed["x-queue-type"] == "quorum"
    assert low["x-dead-letter-routing-key"] == "failed"
    assert "x-delivery-limit" not in failed


@pytest.mark.parametrize(("version", "is_rejected"), [("3.10.8", True), ("4.0.5+deb13", False)])
def test_time_limit_fits_into_the_consumer_timeout(
    make_broker: Callable[..., Any],
    version: str,
    *,
    is_rejected: bool,
) -> None:
    settings = make_broker(JOB_TIME_LIMIT="3600").settings
    queue = get_queue("low")
    assert queue.consumer_arguments["x-consumer-timeout"] > 3 * 3600 * 1000
    assert queue.queue_arguments["x-consumer-timeout"] > 3 * 3600 * 1000
    rejected = pytest.raises(SettingsError, match="JOB_TIME_LIMIT: expected at most 595")
    with rejected if is_rejected else nullcontext():
        check_server(version, settings)


@pytest.mark.parametrize("error", [AccessRefused, MessageNacked, NotAllowed, NotFound])
def test_error_of_the_client_library_raises_broker_unavailable(
    broker: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(Task, "apply_async", Mock(side_effect=error))
    with broker.flask.app_context(), pytest.raises(tasks.BrokerUnavailable):
        greet.delay()


def test_slot_is_claimed_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "publish", Mock(side_effect=[None, MessageNacked]))
    assert [claim(broker.celery, "night"), claim(broker.celery, "night")] == [True, False]
