"""Statements of PostgreSQL that need no transaction, since they only read."""

from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import ColumnClause, Connection, TextClause
from sqlalchemy.sql.functions import Function, FunctionElement
from sqlalchemy.sql.visitors import iterate


def require_transaction(connection: Connection, cursor: Any, *statement: Any) -> None:
    """Require a transaction for a statement that may write, as any textual SQL may.

    In a READ COMMITTED transaction each query sees the rows that were committed before it, as
    without one. The other levels need a transaction, and so does a cursor of the server.
    """
    options = connection.get_execution_options()
    level = options.get("isolation_level", connection.default_isolation_level)
    compiled = statement[2].compiled
    cursor.connection.needs_transaction = (
        level != "READ COMMITTED"
        or isinstance(cursor, psycopg.ServerCursor)
        or not compiled
        or not is_read_only(compiled)
    )


@lru_cache(maxsize=500)
def is_read_only(compiled: Any) -> bool:
    """Return whether a statement neither writes nor locks rows, as a CTE or a function may.

    SQLAlchemy has a class for each function that it knows, such as `count`. Others are `Function`
    or a class of another module.
    """
    # The compiled state has the columns and conditions that a mapping and its options add.
    query = getattr(compiled.compile_state, "statement", compiled.statement)
    return (
        bool(query.is_select)
        and not compiled.ctes
        # FOR UPDATE and similar locks may also be a suffix or a hint.
        and " FOR " not in compiled.string
        and not any(may_write(element) for element in iterate(query))
    )


def may_write(element: Any) -> bool:
    """Return whether a part of a query may write: textual SQL or a function."""
    if isinstance(element, FunctionElement):
        return type(element) is Function or type(element).__module__ != Function.__module__
    if isinstance(element, ColumnClause):
        return element.is_literal and "(" in element.name
    return isinstance(element, TextClause)
