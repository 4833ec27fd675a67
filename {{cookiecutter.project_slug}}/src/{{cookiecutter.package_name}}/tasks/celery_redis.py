"""Celery on Redis, which keeps jobs and results."""

from typing import Any

from kombu import Queue
from redis import Redis

from .celery import GRACE, JOBS_EXCHANGE, CeleryBroker

# Seconds in which a scheduler that lags behind still finds a moment taken.
CLAIMED = 24 * 3600


class Broker(CeleryBroker):
    """Uses one Redis server for both."""

    def options(self) -> dict[str, Any]:
        """Give a job that its worker has not acknowledged to another one, but not while it runs."""
        longest = self.config["JOB_TIME_LIMIT"] + GRACE
        timeout = self.config["BROKER_TIMEOUT"]
        return {
            "result_backend": self.config["BROKER_URL"],
            "redis_socket_connect_timeout": timeout,
            "redis_socket_timeout": timeout,
            "result_backend_transport_options": {"retry_policy": {"timeout": 1.0}},
            "broker_transport_options": {
                # It waits for its moment, and for a process; then it runs.
                "visibility_timeout": self.config["JOB_RETRY_MAX_DELAY"] + 2 * longest,
                "unacked_restore_throttle": 1,
                "queue_order_strategy": "priority",
                "socket_connect_timeout": timeout,
                "socket_timeout": timeout,
            },
            "worker_disable_prefetch": True,
        }

    def queue(self, name: str) -> Queue:
        """Describe a list."""
        return Queue(name, JOBS_EXCHANGE, routing_key=name)

    def claim(self, slot: str) -> bool:
        """Set a key that nobody has set."""
        client: Redis = self.celery.backend.client
        return bool(client.set(f"schedule:{slot}", 1, nx=True, ex=CLAIMED))
