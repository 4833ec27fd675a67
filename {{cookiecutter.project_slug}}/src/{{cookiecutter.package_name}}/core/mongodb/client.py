"""The client of MongoDB. Processes cannot share one: each creates its own on first use."""

import os
from threading import Lock
from time import monotonic
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ServerSelectionTimeoutError

from ...config import Settings
from ..operations import Operations
from .command_monitor import CommandMonitor
# {% if cookiecutter.__metrics %}
from .pool_monitor import PoolMonitor
# {% endif %}

URL_FORM = "mongodb://user:password@host:port/name"

# While requests fail without waiting, this is how soon the driver finds a server that is back.
HEARTBEAT_MS = 2000

Document = dict[str, Any]


class Client:
    """A client of pymongo for each process. A forked child starts without one."""

    operations: Operations

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.lock = Lock()
        self.client: MongoClient[Document] | None = None
        self.lost_at: float | None = None
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Start again without a client: the parent goes on using its connections."""
        self.lock, self.client, self.lost_at = Lock(), None, None

    @property
    def database(self) -> Database[Document]:
        """The database of the URL."""
        if self.client is None:
            with self.lock:
                self.client = self.client or self.connect([CommandMonitor(self.operations)])
        self.require_server(self.client)
        return self.client.get_default_database()

    def require_server(self, client: MongoClient[Document]) -> None:
        """Raise an exception if no server has accepted writes for DATABASE_CONNECT_TIMEOUT.

        Until then the driver waits for an election; after it, waiting would only occupy threads.
        """
        if client.topology_description.has_writable_server():
            self.lost_at = None
            return
        lost_at = self.lost_at = self.lost_at or monotonic()
        seconds = monotonic() - lost_at
        if seconds > self.settings.DATABASE_CONNECT_TIMEOUT:
            reason = f"no server has accepted writes for {seconds:.0f} seconds"
            raise ServerSelectionTimeoutError(reason)

    def connect(self, listeners: list[Any]) -> MongoClient[Document]:
        """Create a client of pymongo. Without listeners it checks the URL, and does not connect."""
        settings = self.settings
        # {% if cookiecutter.__metrics %}
        if listeners:
            listeners.append(PoolMonitor(settings.DATABASE_POOL_SIZE))
        # {% endif %}
        milliseconds = settings.DATABASE_CONNECT_TIMEOUT * 1000
        options: dict[str, Any] = {}
        if settings.DATABASE_WRITE_CONCERN:
            concern = settings.DATABASE_WRITE_CONCERN
            options["w"] = int(concern) if concern.isdigit() else concern
        if settings.DATABASE_READ_CONCERN:
            options["readConcernLevel"] = settings.DATABASE_READ_CONCERN
        return MongoClient(
            self.url,
            appname="{{ cookiecutter.project_slug }}",
            # In the background, without waiting here.
            connect=bool(listeners),
            connectTimeoutMS=milliseconds,
            event_listeners=listeners,
            heartbeatFrequencyMS=HEARTBEAT_MS,
            maxPoolSize=settings.DATABASE_POOL_SIZE,
            serverSelectionTimeoutMS=milliseconds,
            timeoutMS=int(settings.DATABASE_STATEMENT_TIMEOUT * 1000),
            tz_aware=True,
            **options,
        )

    def close(self) -> None:
        """Close the connections of this process."""
        if self.client is not None:
            self.client.close()
            self.client, self.lost_at = None, None


def create_client(name: str, settings: Settings) -> Client:
    """Create the client for the URL in a setting; raise an error of pymongo if it is malformed."""
    client = Client(getattr(settings, name), settings)
    with client.connect([]) as connection:
        # It raises `ConfigurationError` if the URL has no path.
        connection.get_default_database()
    return client
