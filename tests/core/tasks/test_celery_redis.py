import json
from collections.abc import Callable
from contextlib import nullcontext
from operator import methodcaller
from queue import Empty
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from kombu import Connection

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.tasks.celery_redis import claim
from {{ cookiecutter.package_name }}.core.tasks.celery_redis_transport import (
    Channel,
    Transport,
)


def test_running_job_is_not_redelivered(broker: Any) -> None:
    options = broker.celery.conf.broker_transport_options
    longest = broker.settings.JOB_RETRY_BACKOFF_MAX + 2 * broker.settings.JOB_TIME_LIMIT
    assert options["visibility_timeout"] > longest
    assert options["queue_order_strategy"] == "priority"


@pytest.mark.parametrize(
    "url", ["redis://host/name", "redis://host/0?socket_timeout=3", "redis://host?ssl_ca_certs=a"]
)
def test_invalid_broker_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="BROKER_URL: expected redis://"):
        make_app(BROKER_URL=url)


def test_tls_is_verified_for_jobs_and_results(make_app: Callable[..., Flask]) -> None:
    conf = make_app(BROKER_URL="rediss://host").extensions["celery"].conf
    assert conf.broker_use_ssl == conf.redis_backend_use_ssl == {"ssl_cert_reqs": "required"}
    assert conf.broker_url == "rediss://host/0"
    assert conf.result_backend.endswith(":RedisResults+rediss://host/0")


def test_slot_is_claimed_once(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock(set=Mock(side_effect=[True, None]))
    monkeypatch.setattr(broker.celery.backend, "client", client, raising=False)
    assert [claim(broker.celery, "night"), claim(broker.celery, "night")] == [True, False]
    assert client.set.call_args.kwargs["nx"]


MESSAGE = {
    "body": "",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {},
    "properties": {"delivery_tag": "1", "delivery_info": {}},
}

# Otherwise kombu's event loop calls it, which needs a socket.
start_poll = methodcaller("_brpop_start")


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A channel of the workers' transport, with a fake client."""
    client = Mock()
    monkeypatch.setattr(Channel, "_create_client", lambda *_, **__: client)
    channel = Connection("redis://localhost", transport=Transport).channel()
    # Do not restore unacknowledged messages when Python exits.
    channel.do_restore = False
    return channel


def commands(channel: Any) -> list[str]:
    """Return the names of the commands that were sent."""
    return [call.args[0] for call in channel.client.connection.send_command.call_args_list]


def test_workers_use_the_transport(make_app: Callable[..., Flask]) -> None:
    app = make_app(BROKER_URL="redis://localhost")
    connection = app.extensions["celery"].connection_for_read()
    assert isinstance(connection.transport, Transport)


def test_message_is_recorded_when_it_is_taken(channel: Any) -> None:
    taken: list[Any] = []
    start_poll(channel)
    channel.basic_consume("low", no_ack=False, callback=taken.append, consumer_tag="1")
    replies = [None, None, (b"low", json.dumps(MESSAGE).encode())]
    channel.client.parse_response.side_effect = replies
    for reply in replies:
        start_poll(channel)
        with nullcontext() if reply else pytest.raises(Empty):
            channel.handlers["BRPOP"]()
    # If the script finds no message, Redis blocks for a moment before the next one.
    assert commands(channel) == ["EVAL", "BRPOP", "EVAL"]
    assert [message.delivery_tag for message in taken] == ["1"]
    assert not channel.client.pipeline.called


def test_one_queue_is_read_by_the_same_script(channel: Any) -> None:
    channel.client.execute_command.side_effect = [(b"failed", json.dumps(MESSAGE).encode()), None]
    assert channel.basic_get("failed").delivery_tag == "1"
    assert channel.basic_get("failed") is None
    assert channel.client.execute_command.call_args.args[0] == "EVAL"


def test_message_is_restored_without_a_queue_lookup(channel: Any) -> None:
    pipe = Mock()
    methodcaller("_do_restore_message", MESSAGE, "jobs", "low", pipe)(channel)
    (queue, text), _ = pipe.rpush.call_args
    assert (queue, json.loads(text)["headers"]) == ("low", {"redelivered": True})


def test_job_is_sent_without_a_queue_lookup(channel: Any) -> None:
    channel.client.smembers.return_value = [b"a\x06\x16\x06\x16reply"]
    for exchange, queue in (("jobs", "low"), ("replies", "a")):
        channel.client.lpush.reset_mock()
        channel.basic_publish(channel.prepare_message(""), exchange, queue)
        assert channel.client.lpush.call_args.args[0] == ("low" if queue == "low" else "reply")
        assert channel.client.smembers.called == (exchange != "jobs")


def test_replies_to_remote_control_are_not_recorded(channel: Any) -> None:
    channel.basic_consume("reply", no_ack=True, callback=Mock(), consumer_tag="1")
    start_poll(channel)
    assert commands(channel) == ["BRPOP"]
