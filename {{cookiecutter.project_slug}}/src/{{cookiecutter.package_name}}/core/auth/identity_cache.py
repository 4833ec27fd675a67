"""Sessions and tokens of users in the cache, so that their requests need no query.

An entry is valid for SESSION_CACHE_TTL seconds, and until the commit of a change of its user: of
the user's row, roles, sessions or tokens. The tag of the user is read before the query. So an entry
with what was true before the commit is not valid, even if it is stored after the commit.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import click
import msgspec
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session

from ...config import get_settings
from ..cache import get_store
from ..cache.invalidation import record
from ..cache.store import Codec, Store
from .stored_tokens import NO_USER, USER_ID, get_user_id

# The tag of each entry. That of its user is `user_tag`.
ALL = "identities"


def load(token: str, model: type, query: Callable[[], Any]) -> Any:
    """Return what a token stands for, from the cache or by the query."""
    store = get_store()
    settings = get_settings()
    ttl = min(settings.SESSION_CACHE_TTL, settings.SESSION_IDLE_TIMEOUT // 2)
    # Other processes, such as `flask users`, do not reach the memory of this one.
    if not ttl or not store.backend.is_shared:
        return query()
    name = f"identity {sha256(token.encode()).hexdigest()}"
    codec = Codec(encode, lambda data: msgspec.msgpack.decode(data, type=model))
    tags = (ALL, user_tag(get_user_id(token)))
    return store.get_fresh_or_compute(name, tags, ttl, codec, query)


def encode(value: Any) -> bytes | None:
    """Encode a value; a token that is not valid is not cached."""
    return None if value is None else msgspec.msgpack.encode(value)


def user_tag(user_id: int) -> str:
    """Return the tag of a user's entries."""
    return f"{ALL}-{user_id}"


def init_app(app: Flask, models: Mapping[Any, str]) -> None:
    """Invalidate entries by the commits of all sessions.

    `models` has the attribute with the user's ID of each model whose rows are in entries.
    """
    sessions = app.extensions["database"]
    store: Store = app.extensions["cache"]

    @event.listens_for(sessions, "after_flush")
    def record_flush(session: Session, _: object) -> None:
        changed = [*session.new, *session.dirty, *session.deleted]
        users = {getattr(row, models[type(row)]) for row in changed if type(row) in models}
        if users:
            record(store, session, {*map(user_tag, users)})

    @event.listens_for(sessions, "do_orm_execute")
    def record_bulk(state: ORMExecuteState) -> None:
        statement: Any = state.statement
        # Most statements are no writes.
        mapper = state.bind_mapper if statement.is_dml else None
        if mapper is None or mapper.class_ not in models:
            return
        # Begin the transaction of the statement, if this is its first one.
        state.session.connection()
        user_id = state.execution_options.get(USER_ID)
        if user_id != NO_USER:
            record(store, state.session, {ALL if user_id is None else user_tag(user_id)})


def warn_if_unavailable() -> None:
    """Print when a change becomes effective that did not reach the cache."""
    if get_store().pending_invalidations:
        seconds = get_settings().SESSION_CACHE_TTL
        click.echo(f"The cache is unavailable: cached sessions end within {seconds} s.", err=True)
