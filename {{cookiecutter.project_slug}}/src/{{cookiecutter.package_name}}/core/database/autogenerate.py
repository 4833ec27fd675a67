"""Autogenerate for `alembic revision` and `alembic check`; used by `migrations/env.py`."""

import re
from typing import Any, Literal, cast

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations.ops import AlterColumnOp
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Boolean, Column, DefaultClause, MetaData, Table, TextClause
from sqlalchemy.schema import CreateTable, DropTable
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

BOOLEANS = {"true": "true", "1": "true", "false": "false", "0": "false"}


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render code that runs on every database; False lets Alembic render it."""
    if kind == "type":
        return render_type(item, context)
    if kind == "server_default" and isinstance(item, DefaultClause):
        return render_default(item)
    return False


def render_type(item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render a custom type as the type of SQLAlchemy behind it, or else import its module."""
    module = type(item).__module__
    if dialect := re.match(r"sqlalchemy\.dialects\.(\w+)", module):
        # Alembic renders only the name of another database's type, as in a variant.
        context.imports.add(f"from sqlalchemy.dialects import {dialect[1]}")
        return MigrationContext.configure(dialect_name=dialect[1]).impl.render_type(item, context)
    if module.startswith("sqlalchemy."):
        return False
    if isinstance(item, TypeDecorator) and "load_dialect_impl" not in vars(type(item)):
        # Private: nothing public renders a type with its prefix and variants.
        return _repr_type(item.impl_instance, context)
    context.imports.add(f"import {module}")
    return False


def render_default(clause: DefaultClause) -> str | Literal[False]:
    """Render a default, which each database spells differently."""
    default = clause.arg
    if isinstance(default, str):
        return repr(default)
    if isinstance(default, FunctionElement) and not default.clauses.clauses:
        return f"sa.func.{default.name}()"
    sql = unwrap(clause)
    column: Any = clause.column
    if isinstance(column.type, Boolean) and sql in BOOLEANS:
        return f"sa.{BOOLEANS[sql]}()"
    if re.fullmatch(r"(?i)(now|current_timestamp)(\(\))?", sql):
        return "sa.func.now()"
    # A default in parentheses is an expression, which some databases require for JSON.
    if literal := re.fullmatch(r"'((?:[^'\\]|'')*)'(::[\w ]+)?", str(default)):
        return repr(literal[1].replace("''", "'"))
    return False


def compare_server_default(
    context: AutogenContext,
    operation: AlterColumnOp,
    _schema: str | None,
    _table: str,
    _name: str,
    inspected: Column[Any],
    column: Column[Any],
) -> PriorityDispatchResult:
    """Compare the default of the model with that of the database.

    A database rewrites defaults: `false` becomes `0`, `now()` becomes `current_timestamp()`. So
    the default of the model is stored in a temporary table and read back before it is compared.
    """
    default, existing = column.server_default, inspected.server_default
    if not isinstance(default, DefaultClause) or not isinstance(existing, DefaultClause | None):
        return PriorityDispatchResult.CONTINUE
    operation.existing_server_default = existing
    if unwrap(store_default(context.connection, column.type, default)) != unwrap(existing):
        operation.modify_server_default = default
    return PriorityDispatchResult.STOP


def store_default(
    connection: Any,
    type_: TypeEngine[Any],
    default: DefaultClause,
) -> Any:
    """Return a default as the database reports it."""
    table = Table(
        "alembic_compared_default",
        MetaData(),
        Column("value", type_, server_default=cast("str | TextClause", default.arg)),
        prefixes=["TEMPORARY"],
    )
    # Table.create() would create its types as well.
    connection.execute(CreateTable(table))
    try:
        stored = Table(table.name, MetaData(), autoload_with=connection).c.value.server_default
    finally:
        connection.execute(DropTable(table))
    return stored


def unwrap(default: Any) -> str:
    """Return the SQL without the parentheses that Alembic adds on SQLite."""
    return re.sub(r"^\((.*)\)$", r"\1", str(default.arg)) if default else ""


PLUGIN = Plugin(__name__)
PLUGIN.add_autogenerate_comparator(
    compare_server_default, "column", "server_default", priority=DispatchPriority.FIRST
)
