"""`flask db …`: migrations by Alembic, on the application's own engine."""

import logging
import sys

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from flask.cli import AppGroup


class MigrationGroup(AppGroup):
    """Says what Alembic refuses in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise click.ClickException(str(error)) from error


db = MigrationGroup("db", help="Change the database's schema by migrations.")


def get_config() -> Config:
    """Read `[tool.alembic]` of pyproject.toml: commands run in the project's folder."""
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    return Config(toml_file="pyproject.toml", stdout=sys.stdout)


@db.command()
@click.argument("revision", default="head")
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
def upgrade(revision: str, *, sql: bool) -> None:
    """Migrate up to REVISION, by default to the newest."""
    command.upgrade(get_config(), revision, sql=sql)


@db.command()
@click.argument("revision", default="-1")
def downgrade(revision: str) -> None:
    """Migrate down to REVISION, by default by one; `base` removes everything."""
    command.downgrade(get_config(), revision)


@db.command()
@click.argument("message")
@click.option("--empty", is_flag=True, help="Leave it to be written by hand.")
def revision(message: str, *, empty: bool) -> None:
    """Write a migration, named MESSAGE, from what the models and the database differ in."""
    command.revision(get_config(), message, autogenerate=not empty)


@db.command()
def check() -> None:
    """Fail when the models and the migrations differ."""
    command.check(get_config())


@db.command()
def current() -> None:
    """Show the migration that the database is at."""
    command.current(get_config(), verbose=True)


@db.command()
def history() -> None:
    """List the migrations."""
    command.history(get_config(), verbose=False, indicate_current=True)
