"""Celery settings for RabbitMQ with quorum queues; RESULT_URL names the result backend."""

import re
import ssl
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked  # type: ignore[import-untyped]
from celery import Celery
from kombu import Exchange, Queue

from ...config import Settings, SettingsError, invalid
from ..service_urls import split_server_url
from .celery_results import take_conf
from .jobs import FAILED, QUEUES

URL_FORM = "amqp://user:password@host:port// or, with TLS, amqps://…"
# The base classes of the client library's errors.
CLIENT_ERRORS = (AMQPError, MessageNacked)

# Seconds between the soft time limit of a job, which it can handle, and the end of its process.
HARD_LIMIT_GRACE = 5

# Milliseconds for which a claim of a scheduler is stored: a scheduler may lag behind.
CLAIM_TTL = 24 * 3600 * 1000

# Milliseconds in which a consumer must acknowledge a message. A process has up to one job of each
# queue, and each may take 3,600 s, the highest JOB_TIME_LIMIT: four hours with a margin.
CONSUMER_TIMEOUT = 4 * 3600 * 1000

# Older versions of RabbitMQ have one `consumer_timeout` for all queues, in seconds:
QUEUE_TIMEOUT_VERSION = (3, 12)
DEFAULT_CONSUMER_TIMEOUT = 1800

# How often a job that kills its worker is redelivered before it becomes a dead letter.
DELIVERY_LIMIT = 20

EXCHANGE = Exchange("jobs", type="topic")


def url_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings for BROKER_URL; certificate and host name are verified."""
    url, ca_file = settings.BROKER_URL, settings.BROKER_CA_FILE
    parts = split_server_url(url)
    is_tls = parts.scheme == "amqps"
    if (
        parts.scheme not in {"amqp", "amqps"}
        or "ssl" in parts.query
        or (is_tls and ";" in url)
        or (ca_file and not is_tls)
    ):
        raise ValueError(url)
    tls = {
        "ca_certs": ca_file or None,
        "cert_reqs": ssl.CERT_REQUIRED,
        # The client verifies the host name only if it is named here.
        "server_hostname": parts.hostname,
    }
    return {"broker_url": url, "broker_use_ssl": tls if is_tls else False}


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Return settings that confirm each message and limit each network operation."""
    return {
        **take_conf(settings),
        "task_default_exchange": EXCHANGE.name,
        "task_default_exchange_type": EXCHANGE.type,
        "broker_transport_options": {
            "confirm_publish": True,
            "read_timeout": settings.BROKER_TIMEOUT,
            "write_timeout": settings.BROKER_TIMEOUT,
        },
    }


def get_queue(name: str) -> Queue:
    """Return a quorum queue; a job that kills its workers becomes a dead letter."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum"}
    if name != FAILED:
        arguments |= {
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": EXCHANGE.name,
            "x-dead-letter-routing-key": FAILED,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    # An existing queue keeps its own timeout. Since RabbitMQ 4.3 the consumer's applies.
    timeout = {"x-consumer-timeout": CONSUMER_TIMEOUT}
    return Queue(
        name,
        EXCHANGE,
        routing_key=name,
        queue_arguments=arguments | timeout,
        consumer_arguments=timeout,
    )


def check_server(server_version: str, settings: Settings) -> None:
    """Raise `SettingsError` if the server would take jobs away before their time limit."""
    longest = DEFAULT_CONSUMER_TIMEOUT / len(QUEUES) - HARD_LIMIT_GRACE
    version = tuple(map(int, re.findall("[0-9]+", server_version)[:2]))
    if version < QUEUE_TIMEOUT_VERSION and longest < settings.JOB_TIME_LIMIT:
        expected = f"at most {longest:.0f} with RabbitMQ {server_version} (since 3.12 at most 3600)"
        raise SettingsError(invalid("JOB_TIME_LIMIT", expected, f"{settings.JOB_TIME_LIMIT:g}"))


def claim(celery: Celery, slot: str) -> bool:
    """Return True for the first scheduler that claims a slot: its queue takes one message only."""
    with celery.connection_for_write() as connection:
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish", "x-expires": CLAIM_TTL}
        queue = Queue(f"schedule.{slot}", durable=True, queue_arguments=arguments)
        queue = queue.bind(connection.default_channel)
        queue.declare()
        try:
            connection.Producer().publish("", routing_key=queue.name)
        except MessageNacked:
            return False
    return True
