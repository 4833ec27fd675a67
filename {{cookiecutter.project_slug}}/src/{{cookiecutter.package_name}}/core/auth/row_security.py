"""Row-level security: a model with a class method `visible_to` shows each identity some rows only.

    @classmethod
    def visible_to(cls, identity: Identity | None) -> ColumnElement[bool]:
        return cls.created_by == identity.id if identity else false()

SQLAlchemy adds this criterion to all ORM statements of a request that read, update or delete rows:
also to columns, aggregates, subqueries, joins, aliases, relationships and `Session.get`. Where all
rows are meant, a statement has `execution_options(unrestricted=True)`. Textual SQL, `__table__` of
a model and bulk updates by primary key are not restricted.

Commands and workers see all rows, except in a block `with acting_as(identity)`.
"""

from functools import lru_cache
from typing import Any

from flask import Flask, g, has_request_context
from sqlalchemy import event, true
from sqlalchemy.orm import Mapper, ORMExecuteState, with_loader_criteria

from ..database import Base
from .identity import Identity, get_identity

RESTRICTED: set[Any] = set()


def init_app(app: Flask) -> None:
    """Restrict the statements of all sessions."""
    for mapper in Base.registry.mappers:
        add_model(mapper, mapper.class_)
    # First, so that the identity is loaded before another listener starts a transaction.
    event.listen(app.extensions["database"], "do_orm_execute", restrict, insert=True)


@event.listens_for(Mapper, "after_mapper_constructed")
def add_model(_: object, model: type[Any]) -> None:
    """Restrict a model that has a rule."""
    if hasattr(model, "visible_to"):
        RESTRICTED.add(model)
        get_criteria.cache_clear()


@lru_cache(maxsize=1000)
def get_criteria(identity: Identity | None) -> tuple[Any, ...]:
    """Return the criteria for an identity, as options of statements.

    They are cached, so a rule must depend on its argument only; SQL has functions for the time.
    """
    criteria = {model: model.visible_to(identity) for model in RESTRICTED}
    return tuple(
        with_loader_criteria(model, criterion, include_aliases=True)
        for model, criterion in criteria.items()
        if criterion is not true()
    )


def restrict(state: ORMExecuteState) -> None:
    """Add the criteria to a statement, unless it refreshes an object."""
    if (
        RESTRICTED
        and (has_request_context() or (g and "identity" in g))
        and (state.is_select or state.is_update or state.is_delete)
        and not state.is_column_load
        and not state.execution_options.get("unrestricted")
        and (criteria := get_criteria(get_identity()))
    ):
        state.statement = state.statement.options(*criteria)
