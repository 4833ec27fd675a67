"""Callbacks that run when a session commits and are discarded when it rolls back."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from .session import get_session

Callback = Callable[[], object]


class Hook(NamedTuple):
    """A callback and the transaction or savepoint in which it was registered."""

    transaction: SessionTransaction | None
    callback: Callback
    check: Callback | None


def on_commit(
    callback: Callback,
    *,
    check: Callback | None = None,
    session: Session | None = None,
) -> None:
    """Call `callback` after the outermost commit of `session`, by default the current one.

    A rollback discards the callback; so does the rollback of the savepoint in which it was
    registered. Without a transaction it is called immediately. `check` is called before the
    commit: if it raises, nothing is committed. Every callback is called even if another one
    raises; then the exception propagates, but the transaction is committed.
    """
    session = session or get_session()
    if transaction := session.get_nested_transaction() or session.get_transaction():
        session.info.setdefault("on_commit", []).append(Hook(transaction, callback, check))
    else:
        callback()


@event.listens_for(Session, "before_commit")
def run_checks(session: Session) -> None:
    """Call the checks of the callbacks that the commit would run."""
    if not session.in_nested_transaction():
        for hook in session.info.get("on_commit", ()):
            if hook.check:
                hook.check()


@event.listens_for(Session, "after_commit")
def run_callbacks(session: Session) -> None:
    """Call the callbacks; those of a savepoint move to the transaction around it."""
    hooks: list[Hook] = session.info.pop("on_commit", [])
    if savepoint := session.get_nested_transaction():
        session.info["on_commit"] = [
            hook._replace(transaction=savepoint.parent) if hook.transaction is savepoint else hook
            for hook in hooks
        ]
    elif hooks:
        with ExitStack() as stack:  # calls the last one first
            stack.callback(run_callbacks, session)  # a callback may have registered another one
            for hook in reversed(hooks):
                stack.callback(hook.callback)


@event.listens_for(Session, "after_transaction_end")
def discard_callbacks(session: Session, transaction: SessionTransaction) -> None:
    """Discard the callbacks of a transaction that ended without a commit."""
    if hooks := session.info.get("on_commit"):
        session.info["on_commit"] = [hook for hook in hooks if hook.transaction is not transaction]
