"""Celery settings for a Redis server that stores messages and results."""

from typing import Any
from urllib.parse import parse_qsl

from celery import Celery
from kombu import Queue
from redis import Redis, RedisError

from ...config import Settings
from ..service_urls import normalize_redis_url
from .celery_backends import locate
from .celery_redis_results import RedisResults
from .celery_redis_transport import EXCHANGE, Transport

URL_FORM = "redis://user:password@host:port/0 or, with TLS, rediss://…"
# The base classes of the client library's errors.
CLIENT_ERRORS = (RedisError,)

# Seconds between the soft time limit of a job, which it can handle, and the end of its process.
HARD_LIMIT_GRACE = 5

# Seconds for which a claim of a scheduler is stored: a scheduler may lag behind.
CLAIM_TTL = 24 * 3600


def url_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings for BROKER_URL; TLS certificates are verified, as Celery does not."""
    url = normalize_redis_url(settings.BROKER_URL, settings.BROKER_CA_FILE)
    # Without a connection: an invalid option raises now and not when the first job is sent.
    pool = Redis.from_url(url).connection_pool
    pool.make_connection()
    server, _, query = url.partition("?")
    tls = {name: pool.connection_kwargs[name] for name, _ in parse_qsl(query)}
    if not all(name.startswith("ssl_") for name in tls):
        raise ValueError(url)
    return {
        "broker_url": server,
        "broker_use_ssl": tls,
        "result_backend": locate(RedisResults, server),
        "redis_backend_use_ssl": tls,
    }


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Return settings that redeliver unacknowledged jobs, but not while they run."""
    limit = settings.JOB_TIME_LIMIT + HARD_LIMIT_GRACE
    timeout = settings.BROKER_TIMEOUT
    return {
        "broker_transport": f"{Transport.__module__}:{Transport.__name__}",
        "redis_socket_connect_timeout": timeout,
        "redis_socket_timeout": timeout,
        "result_backend_transport_options": {"retry_policy": {"timeout": 1.0}},
        "broker_transport_options": {
            # A job waits for its time and for a free process; then it runs.
            "visibility_timeout": settings.JOB_RETRY_BACKOFF_MAX + 2 * limit,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",
            "socket_connect_timeout": timeout,
            "socket_timeout": timeout,
        },
        "worker_disable_prefetch": True,
    }


def get_queue(name: str) -> Queue:
    """Return a queue, which is a list in Redis."""
    return Queue(name, EXCHANGE, routing_key=name)


def claim(celery: Celery, slot: str) -> bool:
    """Return True for the first scheduler that claims a slot of the schedule."""
    client: Redis = celery.backend.client
    return bool(client.set(f"schedule:{slot}", 1, nx=True, ex=CLAIM_TTL))
