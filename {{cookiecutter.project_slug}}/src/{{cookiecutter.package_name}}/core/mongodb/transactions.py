"""Transactions, where the server has them: a replica set or a sharded cluster."""

from collections.abc import Callable
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.database import Database


def in_transaction(
    database: Database[dict[str, Any]], change: Callable[[ClientSession | None], object]
) -> None:
    """Call `change` in a transaction, whose session it passes to each operation.

    pymongo calls it again after a transient error, such as an election, so it must not have other
    effects. A single server without a replica set has no transactions: there `change` gets None,
    and each document is written by itself.
    """
    client = database.client
    with client.start_session() as session:
        if not has_transactions(database):
            change(None)
        else:
            session.with_transaction(change)


def has_transactions(database: Database[dict[str, Any]]) -> bool:
    """Return whether the server is part of a replica set or a router of a sharded cluster."""
    topology = database.client.topology_description
    if topology.topology_type_name == "Unknown":
        # Nothing has been sent yet.
        database.command("ping")
        topology = database.client.topology_description
    return topology.topology_type_name not in {"Single", "Unknown"} or any(
        server.replica_set_name for server in topology.server_descriptions().values()
    )
