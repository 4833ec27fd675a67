from collections.abc import Iterator
from enum import Enum as PythonEnum
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Computed,
    Enum,
    MetaData,
    String,
    Table,
    func,
    text,
    true,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator

from {{ cookiecutter.package_name }}.core.database import (
    Base,
    UTCDateTime,
    autogenerate,
    get_engine,
)


class Status(PythonEnum):
    DRAFT = "draft"


class DialectType(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def load_dialect_impl(self, _: Any) -> Any:
        return String()


@pytest.fixture
def context(app: Flask) -> Iterator[MigrationContext]:
    """A context of Alembic that compares only the table `pen`."""

    def is_compared(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name == "pen"

    options = {
        "autogenerate_plugins": ["alembic.autogenerate.*", autogenerate.PLUGIN.name],
        "compare_server_default": True,
        "include_name": is_compared,
    }
    with app.app_context(), get_engine().connect() as connection:
        yield MigrationContext.configure(connection, opts=options)


@pytest.mark.parametrize(
    ("type_", "rendered"),
    [
        (UTCDateTime(), "sa.DateTime(timezone=True)"),
        (String(9), False),
        (DialectType(), False),
        (sqlite.JSON(), False),
    ],
)
def test_types_are_rendered(context: MigrationContext, type_: object, rendered: object) -> None:
    imports = AutogenContext(context, opts={"sqlalchemy_module_prefix": "sa."})
    assert autogenerate.render_item("type", type_, imports) == rendered
    assert (f"import {__name__}" in imports.imports) == isinstance(type_, DialectType)


@pytest.mark.parametrize(
    ("type_", "default", "rendered"),
    [
        (String, "'n'", "\"'n'\""),
        (Boolean, true(), "sa.true()"),
        (Boolean, text("0"), "sa.false()"),
        (String, func.now(), "sa.func.now()"),
        (String, text("(CURRENT_TIMESTAMP)"), "sa.func.now()"),
        (String, text("'it''s'::character varying"), '"it\'s"'),
        (String, text("('a')"), False),
        (String, func.lower("A"), False),
        (String, Computed("a", persisted=True), False),
    ],
)
def test_defaults_are_rendered(
    context: MigrationContext,
    type_: Any,
    default: Any,
    rendered: object,
) -> None:
    item = Column("value", type_, server_default=default).server_default
    assert autogenerate.render_item("server_default", item, AutogenContext(context)) == rendered


def test_only_changed_default_is_detected(context: MigrationContext) -> None:
    def pen(name: str, default: Any) -> MetaData:
        metadata = MetaData()
        Table(
            "pen",
            metadata,
            Column("name", String(9), server_default=name),
            Column("is_open", Boolean, server_default=true()),
            Column("data", JSON, server_default="{}"),
            Column("other", String(9), default),
        )
        return metadata

    connection: Any = context.connection
    computed = Computed("ltrim(name)", persisted=True)
    pen("it's", computed).create_all(connection)
    try:
        assert not compare_metadata(context, pen("it's", computed))
        [[change]] = compare_metadata(context, pen("its", computed))
        assert change[0] == "modify_default"
    finally:
        pen("", computed).drop_all(connection)
        connection.commit()


def test_enums_are_stored_as_text() -> None:
    type_ = Enum(Status)
    Base.metadata.remove(Table("pen", Base.metadata, Column("status", type_)))
    assert type_.native_enum is False
