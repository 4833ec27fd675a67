"""What waits for the commit of a session; what is rolled back is forgotten."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

Action = Callable[[], object]


class Waiting(NamedTuple):
    """An action, and the transaction or savepoint that it belongs to."""

    transaction: SessionTransaction
    moment: str
    action: Action


def before_commit(session: Session, action: Action) -> None:
    """Run an action when all else is ready to be committed: if it raises, nothing is committed."""
    wait(session, "before_commit", action)


def after_commit(session: Session, action: Action) -> None:
    """Run an action when all is committed, and others can see it."""
    wait(session, "after_commit", action)


def wait(session: Session, moment: str, action: Action) -> None:
    """Keep an action with the innermost transaction, which begins now if there is none."""
    session.connection()
    waiting = session.info.setdefault("waiting", [])
    waiting.append(Waiting(innermost(session), moment, action))


def innermost(session: Session) -> SessionTransaction:
    """Return the savepoint, or else the transaction, that the session is in."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    assert transaction  # noqa: S101 - these events come from one
    return transaction


def run(session: Session, moment: str) -> None:
    """Run what waits for a moment; at the end of a savepoint let it wait for what is around it."""
    transaction = innermost(session)
    waiting: list[Waiting] = session.info.get("waiting", [])
    if transaction.parent:
        session.info["waiting"] = [
            one._replace(transaction=transaction.parent) if one.transaction is transaction else one
            for one in waiting
        ]
    else:
        session.info["waiting"] = [one for one in waiting if one.moment != moment]
        for one in waiting:
            if one.moment == moment:
                one.action()


@event.listens_for(Session, "before_commit")
def run_before(session: Session) -> None:
    """Run what may still refuse the commit."""
    run(session, "before_commit")


@event.listens_for(Session, "after_commit")
def run_after(session: Session) -> None:
    """Run what needs the commit."""
    run(session, "after_commit")


@event.listens_for(Session, "after_transaction_end")
def forget(session: Session, transaction: SessionTransaction) -> None:
    """Drop what still waits for a transaction that has ended: it was not committed."""
    if waiting := session.info.get("waiting"):
        session.info["waiting"] = [one for one in waiting if one.transaction is not transaction]
