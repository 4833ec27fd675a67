#!/bin/sh
# SQLAlchemy 2.1.9, SQLite, Python 3.11 to 3.14.
# Expected: `with_loader_criteria(Model, criterion, propagate_to_loaders=False)` restricts the rows of the statement that it is added to, with
#   the rows of relationships in the same SELECT, as joinedload() loads them; the option is about loads by later statements.
# Actual: it is the other way round. joinedload() returns all rows of the related model, although an explicit join() to it is restricted; and
#   selectinload(), which emits a statement of its own, is restricted. With propagate_to_loaders=True, the default, all three are. So a
#   criterion that hides rows must not turn it off to save time.
# Workaround: leave the default.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sqlalchemy==2.1.9
"$folder/venv/bin/python" - <<'PYTHON'
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import (
    DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload, with_loader_criteria,
)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("team.id"))
    hidden: Mapped[bool]


class Team(Base):
    __tablename__ = "team"
    id: Mapped[int] = mapped_column(primary_key=True)
    notes: Mapped[list[Note]] = relationship()


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Team(notes=[Note(hidden=False), Note(hidden=True)]))
    session.commit()


def count(load, propagate):
    option = with_loader_criteria(Note, Note.hidden.is_(False), propagate_to_loaders=propagate)
    with Session(engine) as session:
        return len(session.execute(select(Team).options(load(Team.notes), option)).unique().scalar_one().notes)


def count_join(propagate):
    option = with_loader_criteria(Note, Note.hidden.is_(False), propagate_to_loaders=propagate)
    with Session(engine) as session:
        return len(session.execute(select(Note.id).select_from(Team).join(Note).options(option)).all())


found = {name: (count(load, True), count(load, False)) for name, load in (("joined", joinedload), ("selectin", selectinload))}
found["join"] = (count_join(True), count_join(False))
print(found)
assert found == {"joined": (1, 2), "selectin": (1, 1), "join": (1, 1)}, "the behavior has changed"
PYTHON
