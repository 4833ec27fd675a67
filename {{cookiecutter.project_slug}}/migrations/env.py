"""Alembic runs this file for each command that needs the database."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from alembic.script.revision import MultipleHeads, ResolutionError
from alembic.util import CommandError
from flask import has_app_context
from flask.cli import load_dotenv
from msgspec.structs import replace

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core import database
from {{ cookiecutter.package_name }}.core.database import autogenerate

if not has_app_context():
    load_dotenv()
    create_app().app_context().push()

# The log goes to standard output, where `--sql` prints the SQL.
log_level = logging.WARNING if context.is_offline_mode() else logging.NOTSET
logging.getLogger("alembic").setLevel(log_level)
logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)

settings = replace(
    get_settings(),
    # A statement of a migration may take an hour.
    DATABASE_STATEMENT_TIMEOUT=3600.0,
    # {% if cookiecutter.__pooled %}
    # One connection holds the lock.
    DATABASE_POOL_SIZE=2,
    # {% endif %}
)
url = "DATABASE_URL"
# {% if cookiecutter.__pooled %}
if settings.DATABASE_MIGRATION_URL:
    url = "DATABASE_MIGRATION_URL"
# {% endif %}
engine = database.create_engine(url, settings)
options: dict[str, Any] = {
    "target_metadata": database.Base.metadata,
    "autogenerate_plugins": ["alembic.autogenerate.*", autogenerate.PLUGIN.name],
    "compare_server_default": True,
    "render_item": autogenerate.render_item,
    # SQLite cannot change a column: Alembic creates a new table there.
    "render_as_batch": True,
    # A migration can leave its transaction: `with op.get_context().autocommit_block():`.
    "transaction_per_migration": True,
}


@contextmanager
def hints() -> Iterator[None]:
    """Replace errors of revisions by one line that says what to do."""
    warnings.filterwarnings("error", "Revision .* is (not present|present more)", UserWarning)
    try:
        yield
    except UserWarning as warning:
        sys.exit(f"Error: migrations/versions: {warning}")
    except CommandError as error:
        cause = error.__cause__
        if isinstance(cause, MultipleHeads):
            heads = " and ".join(cause.heads)
            sys.exit(
                f"Error: {heads} follow the same migration, as after a merge of two branches: run"
                ' `alembic merge heads -m "merge"` and commit the new file (docs/migrations.md)'
            )
        current = context.get_context().get_current_heads()
        if isinstance(cause, ResolutionError) and cause.argument in current:
            name = engine.url.database
            fix = f"delete {name}*" if engine.name == "sqlite" else f"drop and create {name}"
            sys.exit(
                f"Error: the database is at revision {cause.argument}, which has no file in"
                " migrations/versions: another branch or version migrated it, or the file was"
                f" deleted. In development: {fix} (its data is lost) and run `make migrate`."
                " Otherwise: restore the file (docs/migrations.md)"
            )
        raise


if context.is_offline_mode():
    context.configure(dialect_name=engine.dialect.name, literal_binds=True, **options)
    with hints(), context.begin_transaction():
        context.run_migrations()
else:
    lock = database.DIALECTS[engine.dialect.name].migration_lock
    try:
        with database.cli_errors(), engine.connect() as connection, lock(connection):
            context.configure(connection=connection, **options)
            with hints(), context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()
