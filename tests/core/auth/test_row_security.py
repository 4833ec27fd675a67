from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    StaticPool,
    create_engine,
    delete,
    event,
    exists,
    false,
    func,
    literal,
    select,
    text,
    true,
    union,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    contains_eager,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    sessionmaker,
    subqueryload,
)
from werkzeug.exceptions import Unauthorized

from {{ cookiecutter.package_name }}.core.auth import (
    Identity,
    acting_as,
    get_identity,
    identity,
    row_security,
)

ADA, BOB = Identity("ada", "Ada"), Identity("bob", "Bob")
ADMIN = Identity("admin", "Admin", frozenset({"admin"}))


class Base(DeclarativeBase):
    """Base of the models of these tests."""


class Note(Base):
    """Visible to its owner, and to administrators."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"))

    @classmethod
    def visible_to(cls, identity: Identity | None) -> ColumnElement[bool]:
        if identity is None:
            return false()
        return true() if "admin" in identity.permissions else cls.owner == identity.id


class Team(Base):
    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    notes: Mapped[list[Note]] = relationship(order_by="Note.id")


Other: Any = aliased(Note)
IN_TEAM = select(func.max(Note.id)).where(Note.team_id == Team.id)


@pytest.fixture(autouse=True)
def _only_these_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert Note in row_security.RESTRICTED
    monkeypatch.setattr(row_security, "RESTRICTED", {Note})
    row_security.get_criteria.cache_clear()
    yield
    row_security.get_criteria.cache_clear()


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """Session of a database with one note of each user, in one team."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    event.listen(sessions, "do_orm_execute", row_security.restrict)
    with app.app_context(), sessions() as session:
        session.add(Team(id=1))
        session.flush()
        session.add_all([Note(id=1, owner="ada", team_id=1), Note(id=2, owner="bob", team_id=1)])
        session.commit()
        yield session
    engine.dispose()


STATEMENTS = {
    "entity": select(Note.id).select_from(Note),
    "column": select(Note.id),
    "expression": select(Note.id + 0),
    "alias": select(Other.id),
    "join": select(Note.id).select_from(Team).join(Note),
    "relationship": select(Note.id).select_from(Team).join(Team.notes),
    "subquery": select(select(Note.id).subquery()),
    "cte": select(select(Note.id).cte()),
    "union": union(select(Note.id), select(Note.id)),
    "aggregate": select(func.max(Note.id)),
    "scalar subquery": select(IN_TEAM.scalar_subquery()).select_from(Team),
    "outer join": select(func.max(Note.id)).select_from(Team).outerjoin(Note),
    "exists": select(literal(1)).where(exists().where(Note.owner == "ada")),
    "any": select(literal(1)).select_from(Team).where(Team.notes.any(Note.owner == "ada")),
    "in": select(literal(1)).where(literal("ada").in_(select(Note.owner))),
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_statement_is_restricted(session: Session, statement: Any) -> None:
    def rows() -> list[Any]:
        return [row for row in session.scalars(statement) if row]

    with acting_as(ADA):
        assert rows() == [1]
    with acting_as(BOB):
        assert rows() in ([2], [])
    with acting_as(None):
        assert rows() == []
    # Commands and jobs see everything, as do administrators.
    everything = rows()
    assert everything in ([1, 2], [2], [1])
    with acting_as(ADMIN):
        assert rows() == everything
    with acting_as(None):
        statement = statement.execution_options(unrestricted=True)
        assert rows() == everything


@pytest.mark.parametrize("load", [None, joinedload, selectinload, subqueryload])
def test_relationship_is_restricted(session: Session, load: Any) -> None:
    statement = select(Team).options(*[load(Team.notes)] if load else [])
    with acting_as(ADA):
        (team,) = session.scalars(statement).unique()
        assert [note.owner for note in team.notes] == ["ada"]


def test_joined_relationship_is_restricted(session: Session) -> None:
    statement = select(Team).outerjoin(Team.notes).options(contains_eager(Team.notes))
    with acting_as(ADA):
        (team,) = session.scalars(statement).unique()
        assert [note.owner for note in team.notes] == ["ada"]


def test_get_is_restricted(session: Session) -> None:
    with acting_as(ADA):
        assert session.get(Note, 1)
        assert session.get(Note, 2) is None
        assert session.get(Note, 2, execution_options={"unrestricted": True})


def test_update_and_delete_are_restricted(session: Session) -> None:
    changed: Any
    with acting_as(ADA):
        changed = session.execute(update(Note).values(owner="eve"))
        assert changed.rowcount == 1
        changed = session.execute(delete(Note))
        assert changed.rowcount == 0
    assert session.scalars(select(Note.owner).order_by(Note.id)).all() == ["eve", "bob"]


def test_loaded_object_can_be_refreshed(session: Session) -> None:
    with acting_as(ADA):
        note = session.get(Note, 1)
        assert note
        note.owner = "bob"
        session.commit()
        assert note.owner == "bob"
        session.refresh(note)


def test_other_statements_are_not_changed(session: Session) -> None:
    with acting_as(None):
        assert session.scalar(text("SELECT count(*) FROM note")) == 2
        session.add(Note(id=3, owner="eve", team_id=1))
        session.commit()
    assert session.scalar(select(func.count(Note.id))) == 3


def test_request_loads_the_identity_once(
    app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    class Provider:
        def load(self) -> Identity:
            """Send a query, as the providers with a database do."""
            loaded.append(session.scalars(select(Note.id)).all())
            return ADA

    monkeypatch.setattr(identity, "get_provider", Provider)
    with app.test_request_context():
        for _ in range(2):
            assert session.scalars(select(Note.id)).all() == [1]
    assert loaded == [[]]


def test_block_acts_as_another_identity(app: Flask, login: Callable[..., None]) -> None:
    login()
    with app.test_request_context():
        with acting_as(ADA):
            with acting_as(None):
                assert get_identity() is None
            assert get_identity() == ADA
        known = get_identity()
        assert known
        assert known.id == "1"


def test_invalid_token_is_rejected_by_a_query(
    app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Provider:
        def load(self) -> Identity:
            raise Unauthorized

    monkeypatch.setattr(identity, "get_provider", Provider)
    with app.test_request_context(), pytest.raises(Unauthorized):
        session.scalars(select(Note.id))
