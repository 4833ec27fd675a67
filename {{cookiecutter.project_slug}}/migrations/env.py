"""Alembic's environment: `flask db …` runs migrations on the application's engine."""

from typing import Any

from alembic import context

from {{ cookiecutter.package_name }} import database

engine = database.get_engine()
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
    with engine.begin() as connection, database.get_dialect().migrating(connection):
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
    # A connection that has migrated has other limits than the application's.
    engine.dispose()
