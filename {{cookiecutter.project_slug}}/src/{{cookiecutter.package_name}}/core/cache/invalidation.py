"""Invalidation by commits: a commit that changes a table invalidates the values with its tag."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cache, partial
from typing import Any

from flask import Flask, g
from sqlalchemy import event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction

from ..database.transaction_hooks import on_commit
from .store import Store

# The key in `Session.info` of the tables with changes that are not committed yet.
CHANGED = "changed_tables"


def init_app(app: Flask) -> None:
    """Listen to all sessions. Textual SQL is not noticed: call `cache.invalidate` after it."""
    sessions = app.extensions["database"]
    store: Store = app.extensions["cache"]

    @event.listens_for(sessions, "after_flush")
    def record_flush(session: Session, _: object) -> None:
        instances = (*session.new, *session.dirty, *session.deleted)
        mappers = {inspect(instance).mapper for instance in instances}
        record(store, session, set().union(*map(affected_tables, mappers)))

    @event.listens_for(sessions, "do_orm_execute")
    def record_bulk(state: ORMExecuteState) -> None:
        statement: Any = state.statement
        if statement.is_dml:
            # Begin the transaction of the statement, if this is its first one.
            state.session.connection()
            record(store, state.session, {statement.table.name})

    @event.listens_for(sessions, "after_transaction_end")
    def discard(session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info.pop(CHANGED, None)

    def has_uncommitted_changes(tags: Sequence[str]) -> bool:
        session = g.get("session") if g else None
        return session is not None and not session.info.get(CHANGED, set()).isdisjoint(tags)

    store.has_uncommitted_changes = has_uncommitted_changes


def record(store: Store, session: Session, tables: AbstractSet[str]) -> None:
    """Invalidate tables after the commit of a session."""
    session.info.setdefault(CHANGED, set()).update(tables)
    on_commit(partial(invalidate, store, session), session=session)


def invalidate(store: Store, session: Session) -> None:
    """Invalidate all tables that a session has changed, in the first callback of its commit."""
    if changed := session.info.pop(CHANGED, None):
        store.invalidate(*changed)


@cache
def affected_tables(mapper: Mapper[Any]) -> frozenset[str]:
    """Return the tables that a change of an object may affect: its own and its link tables."""
    links = [link.secondary for link in mapper.relationships if link.secondary is not None]
    tables: list[Any] = [*mapper.tables, *links]
    return frozenset(table.name for table in tables)
