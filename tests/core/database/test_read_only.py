from typing import Any
from unittest.mock import Mock

import psycopg
from sqlalchemy import (
    Column,
    MetaData,
    Table,
    Text,
    func,
    insert,
    literal_column,
    make_url,
    select,
    text,
)
from sqlalchemy.orm import column_property, registry
from sqlalchemy.sql.functions import GenericFunction

from {{ cookiecutter.package_name }}.core.database.read_only import (
    require_transaction,
)

DIALECT = make_url("postgresql://").get_dialect()()
TABLE = Table("pen", MetaData(), Column("sku"))
READS = [
    select(TABLE),
    select(func.count()),
    select(TABLE).where(TABLE.c.sku.in_(["a"])),
    select(TABLE).where(TABLE.c.sku == literal_column("0")),
]


class DropPen(GenericFunction[int]):
    """A function with a class of its own."""

    inherit_cache = True


class Pen:
    """A model."""


registry().map_imperatively(
    Pen,
    Table("model", MetaData(), Column("sku", Text, primary_key=True)),
    properties={"lost": column_property(func.lose())},
)
WRITES = [
    insert(TABLE),
    select(insert(TABLE).returning(TABLE.c.sku).cte()),
    select(func.lose()),
    select(TABLE).where(func.lose() == 1),
    select(text("lose()")),
    text("SELECT lose()").columns(),
    select(literal_column("lose()")),
    select(DropPen()),
    select(Pen),
    select(TABLE).with_for_update(),
    select(TABLE).suffix_with("FOR UPDATE"),
    select(select(TABLE).with_for_update().subquery()),
]


def needs_transaction(
    statement: Any, cursor: Any = None, default: str = "READ COMMITTED", **options: str
) -> bool:
    """Return whether a transaction is required for a statement of SQLAlchemy, or None for text."""
    used = Mock(default_isolation_level=default, get_execution_options=lambda: options)
    compiled = statement is not None and statement.compile(dialect=DIALECT)
    cursor = cursor or Mock()
    require_transaction(used, cursor, "", {}, Mock(compiled=compiled))
    required: bool = cursor.connection.needs_transaction
    return required


def test_only_statements_that_may_write_need_a_transaction() -> None:
    assert [needs_transaction(statement) for statement in READS] == [False] * len(READS)
    assert [needs_transaction(statement) for statement in [*WRITES, None]] == [True] * 13
    cursor = Mock(psycopg.ServerCursor, connection=Mock())
    assert needs_transaction(select(TABLE), cursor)


def test_query_with_snapshot_needs_a_transaction() -> None:
    assert needs_transaction(select(TABLE), default="REPEATABLE READ")
    assert needs_transaction(select(TABLE), isolation_level="SERIALIZABLE")
    assert not needs_transaction(select(TABLE), isolation_level="READ COMMITTED")
