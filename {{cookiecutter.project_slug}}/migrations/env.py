"""Alembic's environment: `flask db …` runs migrations on the application's database."""

from typing import Any

from alembic import context
from flask import current_app

from {{ cookiecutter.package_name }} import database

# What migrates may take longer than what answers a request.
engine = database.get_dialect().make_engine(
    database.get_engine().url,
    {**current_app.config, "DATABASE_STATEMENT_TIMEOUT": 3600.0},
)
options: dict[str, Any] = {
    "target_metadata": database.Base.metadata,
    "compare_server_default": True,
    "render_as_batch": engine.dialect.name == "sqlite",
}

if context.is_offline_mode():
    context.configure(dialect_name=engine.dialect.name, literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    try:
        with engine.begin() as connection, database.get_dialect().migrating(connection):
            context.configure(connection=connection, **options)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()
