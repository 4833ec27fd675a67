"""The database: a client of Cassandra, and migrations."""

import logging
from typing import Any

import structlog
from flask import Flask, current_app
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable

from ...config import get_settings, register_client, take_client
from .. import health
from ..operations import Operations
from .client import UNAVAILABLE, Client, Statement, batch, create_client, is_applied
from .commands import cli_errors, db

__all__ = [
    "UNAVAILABLE",
    "Client",
    "Statement",
    "batch",
    "cli_errors",
    "get_client",
    "init_app",
    "is_applied",
]

URL_FORM = "cassandra://user:password@host1:9042,host2:9042/keyspace"

register_client(create_client, "DATABASE_URL", expected=URL_FORM)


# The driver logs failed attempts with tracebacks; exceptions reach the application.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


def init_app(app: Flask) -> None:
    """Create the client; it connects on first use."""
    client: Client = take_client("DATABASE_URL", get_settings(app))
    client.operations = Operations(app)
    app.extensions["cassandra"] = client
    app.cli.add_command(db)
    for error in UNAVAILABLE:
        app.register_error_handler(error, handle_unavailable)
    health.add_check(app, "database", client.ping)


def get_client() -> Client:
    """Return the client of the current application."""
    client: Client = current_app.extensions["cassandra"]
    return client


def handle_unavailable(error: Any) -> ResponseReturnValue:
    """Respond with 503 if too few nodes are reachable, or if they do not respond in time."""
    structlog.get_logger().error("database unavailable", error=str(error))
    return current_app.handle_http_exception(ServiceUnavailable(retry_after=5))
