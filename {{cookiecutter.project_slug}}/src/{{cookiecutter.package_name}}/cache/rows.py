"""Forgets what was read of a table as soon as a change of the table is committed."""

from collections.abc import Sequence
from functools import cache as kept
from typing import Any

from flask import Flask, g
from sqlalchemy import event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction


def init_app(app: Flask) -> None:
    """Watch all sessions; a tag is a table's name. Textual SQL is not seen: call `forget` there."""
    sessions = app.extensions["database"]
    cache = app.extensions["cache"]

    @event.listens_for(sessions, "after_flush")
    def note_objects(session: Session, _: object) -> None:
        changed = session.info.setdefault("changed", set())
        for instance in (*session.new, *session.dirty, *session.deleted):
            changed |= tables_of(inspect(instance).mapper)

    @event.listens_for(sessions, "do_orm_execute")
    def note_statement(state: ORMExecuteState) -> None:
        statement: Any = state.statement
        if statement.is_dml:
            state.session.info.setdefault("changed", set()).add(statement.table.name)

    @event.listens_for(sessions, "after_commit")
    def forget(session: Session) -> None:
        # A savepoint is no commit; nobody else sees its rows yet.
        if not session.in_nested_transaction() and (changed := session.info.pop("changed", None)):
            cache.forget(*changed)

    @event.listens_for(sessions, "after_soft_rollback")
    def drop(session: Session, ended: SessionTransaction) -> None:
        if not ended.nested:
            session.info.pop("changed", None)

    def is_changing(tags: Sequence[str]) -> bool:
        # Nobody else sees its rows yet, and perhaps nobody ever will.
        session = g.get("session") if g else None
        return session is not None and not session.info.get("changed", set()).isdisjoint(tags)

    cache.is_changing = is_changing


@kept
def tables_of(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the tables that a change of an object may change: its own, and those of its links."""
    links = [link.secondary for link in mapper.relationships if link.secondary is not None]
    tables: list[Any] = [*mapper.tables, *links]
    return frozenset(table.name for table in tables)
