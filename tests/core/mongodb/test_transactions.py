"""Transactions. The fake server is a single server, so those of a replica set are a fake here."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.mongodb import (
    get_database,
    in_transaction,
)


def test_single_server_has_no_transaction(app: Flask) -> None:
    sessions: list[Any] = []
    with app.app_context():
        in_transaction(get_database(), sessions.append)
    assert len(sessions) == 1


@pytest.mark.parametrize(
    ("kind", "replica_set", "has_transactions"),
    [
        ("ReplicaSetWithPrimary", "rs0", True),
        ("Sharded", None, True),
        ("Single", "rs0", True),
        ("Single", None, False),
    ],
)
def test_servers_with_transactions(
    kind: str, replica_set: str | None, *, has_transactions: bool
) -> None:
    database, change = MagicMock(), MagicMock()
    topology = database.client.topology_description
    topology.topology_type_name = kind
    topology.server_descriptions.return_value = {"a": MagicMock(replica_set_name=replica_set)}
    session = database.client.start_session.return_value.__enter__.return_value
    in_transaction(database, change)
    if has_transactions:
        session.with_transaction.assert_called_once_with(change)
    else:
        change.assert_called_once_with(None)
