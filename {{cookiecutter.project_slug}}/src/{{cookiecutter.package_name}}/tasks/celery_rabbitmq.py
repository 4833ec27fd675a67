"""Celery on RabbitMQ, with the place of results that RESULT_URL names."""

from typing import Any

from amqp.exceptions import MessageNacked  # type: ignore[import-untyped]
from kombu import Queue

from ..config import SettingsError
from .celery import JOBS_EXCHANGE, CeleryBroker
from .celery_failed import FAILED
from .celery_results import locate

# Milliseconds in which a scheduler that lags behind still finds a moment taken.
CLAIMED = 24 * 3600 * 1000

# How often a job may be given to workers that die of it, before it is kept with the failed ones.
DELIVERIES = 20


class Broker(CeleryBroker):
    """Uses queues that a cluster replicates, and waits for the confirmation of each message."""

    def options(self) -> dict[str, Any]:
        """Confirm each message, and wait for nobody for ever."""
        url = self.config["RESULT_URL"]
        if url.startswith("inline:"):
            raise SettingsError(["RESULT_URL is missing"])
        return {
            "result_backend": locate(url),
            "task_default_exchange": "jobs",
            "task_default_exchange_type": "topic",
            "broker_transport_options": {
                "confirm_publish": True,
                "read_timeout": self.config["BROKER_TIMEOUT"],
                "write_timeout": self.config["BROKER_TIMEOUT"],
            },
        }

    def queue(self, name: str) -> Queue:
        """Describe a quorum queue; what kills its workers leaves it for the failed ones."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if name != FAILED:
            arguments |= {
                "x-delivery-limit": DELIVERIES,
                "x-dead-letter-exchange": JOBS_EXCHANGE.name,
                "x-dead-letter-routing-key": FAILED,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        return Queue(name, JOBS_EXCHANGE, routing_key=name, queue_arguments=arguments)

    def claim(self, slot: str) -> bool:
        """Put a message into a queue that takes one only."""
        with self.celery.connection_for_write() as connection:
            queue = Queue(
                f"schedule.{slot}",
                durable=True,
                queue_arguments={
                    "x-max-length": 1,
                    "x-overflow": "reject-publish",
                    "x-expires": CLAIMED,
                },
            ).bind(connection.default_channel)
            queue.declare()
            try:
                connection.Producer().publish("", routing_key=queue.name)
            except MessageNacked:
                return False
        return True
