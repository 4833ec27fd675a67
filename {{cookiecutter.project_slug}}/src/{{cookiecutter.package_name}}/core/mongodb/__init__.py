"""MongoDB: the client, transactions, migrations, and 503 while the server is unreachable."""

from typing import Any

import structlog
from flask import Flask, current_app
from flask.typing import ResponseReturnValue
from pymongo import timeout
from pymongo.database import Database
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from werkzeug.exceptions import ServiceUnavailable

from ...config import get_settings, register_client, take_client
from .. import health
from ..operations import Operations
from .client import URL_FORM, Client, create_client
from .commands import cli_errors, db
from .counters import reserve_ids
from .errors import describe_error, is_unavailable
from .transactions import in_transaction

__all__ = ["cli_errors", "get_database", "in_transaction", "init_app", "reserve_ids"]

Document = dict[str, Any]

register_client(create_client, "DATABASE_URL", expected=URL_FORM, errors=(PyMongoError,))


def init_app(app: Flask) -> None:
    """Prepare the client; each process creates its own on first use."""
    client: Client = take_client("DATABASE_URL", get_settings(app))
    client.operations = Operations(app)
    app.extensions["mongodb"] = client
    app.cli.add_command(db)
    for error in (ConnectionFailure, ExecutionTimeout, WriteConcernError):
        app.register_error_handler(error, handle_unavailable)
    app.register_error_handler(OperationFailure, handle_failure)
    seconds = get_settings(app).READINESS_TIMEOUT
    health.add_check(app, "database", lambda: ping(client, seconds))


def get_database() -> Database[Document]:
    """Return the database of the current application, which the path of DATABASE_URL names."""
    client: Client = current_app.extensions["mongodb"]
    return client.database


def handle_unavailable(error: Exception) -> ResponseReturnValue:
    """Respond with 503 if the database is unreachable, too slow or overloaded."""
    structlog.get_logger().error("database unavailable", error=describe_error(error))
    return current_app.handle_http_exception(ServiceUnavailable(retry_after=5))


def handle_failure(error: OperationFailure) -> ResponseReturnValue:
    """Respond with 503 if the server rejects the credentials or changes its role, else with 500."""
    if is_unavailable(error):
        return handle_unavailable(error)
    raise error


def ping(client: Client, seconds: float) -> None:
    """Raise an exception if there is no server that accepts writes."""
    with timeout(seconds):
        client.database.command("ping")
