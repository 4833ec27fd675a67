"""The URL of a cluster, and the options of the driver for it."""

import ssl
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)

# {% if cookiecutter.wsgi_server == "gunicorn" %}
from ...config import Settings, SettingsError
# {% else %}
from ...config import Settings
# {% endif %}

DEFAULT_PORT = 9042


class ClusterURL(NamedTuple):
    """The parts of `cassandra://user:password@host1:9042,host2:9042/keyspace`."""

    hosts: list[tuple[str, int]]
    keyspace: str
    username: str
    password: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL; raise `ValueError` if it is malformed."""
        parts = urlsplit(url)
        login, _, places = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        keyspace = parts.path.strip("/")
        # A name in lower case needs no quotes in CQL.
        is_valid = keyspace.replace("_", "").isalnum() and keyspace.islower()
        if parts.scheme != "cassandra" or not is_valid or parts.query or parts.fragment:
            raise ValueError(url)
        hosts = [parse_host(place) for place in places.split(",")]
        return cls(hosts, keyspace, unquote(username), unquote(password))


def parse_host(text: str) -> tuple[str, int]:
    """Return a host and its port."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError(text)
    return parts.hostname, parts.port or DEFAULT_PORT


class IdempotentRetryPolicy(RetryPolicy):
    """Retry a statement once, on another node, if a second execution does no harm."""

    def on_read_timeout(self, query: Any, *_: Any, retry_num: int, **_details: Any) -> Any:
        """Retry a read on the next node."""
        return self.retry_once(query, retry_num)

    def on_write_timeout(self, query: Any, *_: Any, retry_num: int, **_details: Any) -> Any:
        """Retry a write on the next node, unless it has a condition."""
        return self.retry_once(query, retry_num)

    def on_unavailable(self, query: Any, *_: Any, retry_num: int, **_details: Any) -> Any:
        """Retry on the next node, which may see others."""
        return self.retry_once(query, retry_num)

    def on_request_error(self, query: Any, *_: Any, retry_num: int, **_details: Any) -> Any:
        """Retry on the next node if a connection was lost."""
        return self.retry_once(query, retry_num)

    def retry_once(self, query: Any, retry_num: int) -> Any:
        """Return the decision of this policy."""
        if query.is_idempotent and retry_num == 0:
            return self.RETRY_NEXT_HOST, None
        return self.RETHROW, None


def cluster_options(url: ClusterURL, settings: Settings) -> dict[str, Any]:
    """Return arguments for `Cluster`."""
    # {% if cookiecutter.wsgi_server == "gunicorn" %}
    if settings.WEB_WORKER_CLASS == "gevent":
        raise SettingsError("WEB_WORKER_CLASS: the driver of the database works with gthread only")
    # {% endif %}
    profile = ExecutionProfile(
        # The node that has the row, in the own data center.
        load_balancing_policy=TokenAwarePolicy(
            DCAwareRoundRobinPolicy(local_dc=settings.DATABASE_LOCAL_DATACENTER)
        ),
        retry_policy=IdempotentRetryPolicy(),
        consistency_level=ConsistencyLevel.name_to_value[settings.DATABASE_CONSISTENCY],
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL
        if settings.DATABASE_LIGHTWEIGHT_TRANSACTIONS
        else None,
        request_timeout=settings.DATABASE_STATEMENT_TIMEOUT,
    )
    options: dict[str, Any] = {
        "contact_points": url.hosts,
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        # The driver would begin with newer ones and log a warning for each that the server rejects.
        "protocol_version": settings.DATABASE_PROTOCOL_VERSION,
        "connect_timeout": settings.DATABASE_CONNECT_TIMEOUT,
        "control_connection_timeout": settings.DATABASE_CONNECT_TIMEOUT,
        "reconnection_policy": ExponentialReconnectionPolicy(0.5, 5, max_attempts=None),
        # An idle connection to a node that hangs is closed after eight seconds.
        "idle_heartbeat_interval": 5,
        "idle_heartbeat_timeout": 3,
        "ssl_context": create_ssl_context(settings),
    }
    if url.username:
        options["auth_provider"] = PlainTextAuthProvider(url.username, url.password)
    return options


def create_ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a context that verifies certificates, if DATABASE_TLS is set."""
    if not settings.DATABASE_TLS:
        if settings.DATABASE_CA_FILE:
            raise ValueError("a CA file without TLS")
        return None
    return ssl.create_default_context(cafile=settings.DATABASE_CA_FILE or None)
