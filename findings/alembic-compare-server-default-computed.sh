#!/bin/sh
# Alembic 1.20.1 with SQLAlchemy 2.1.9, SQLite, Python 3.11 to 3.14.
# Expected: `compare_server_default=` with a function works wherever `True` works; if the function returns None, Alembic uses its
#   own comparison.
# Actual: on a table with a computed column autogenerate with `True` finds no difference, and with a function that returns None it raises
#   AttributeError: 'Computed' object has no attribute 'arg'
# before the function is called, because Alembic first renders the default of the model as a DefaultClause.
# Workaround: register a comparator with alembic.autogenerate.comparators.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check alembic==1.20.1 sqlalchemy==2.1.9
"$folder/venv/bin/python" - <<'PYTHON'
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

engine = sa.create_engine("sqlite://")
metadata = sa.MetaData()
sa.Table(
    "item",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("net", sa.Integer),
    sa.Column("gross", sa.Integer, sa.Computed("net * 2")),
)
metadata.create_all(engine)
called = []


def compare(compare_server_default):
    with engine.connect() as connection:
        options = {"compare_server_default": compare_server_default, "target_metadata": metadata}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


assert compare(True) == []
try:
    compare(lambda *arguments: called.append(arguments))
except AttributeError as error:
    assert str(error) == "'Computed' object has no attribute 'arg'", error
    assert not called
    print("as described:", error)
else:
    raise SystemExit("the behavior has changed")
PYTHON
