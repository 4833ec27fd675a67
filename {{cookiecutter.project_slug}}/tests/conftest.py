import os
from collections.abc import Callable, Iterator

import pytest
from alembic import command
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.database import Base, get_engine
from {{ cookiecutter.package_name }}.database.commands import get_config


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A server that TEST_DATABASE_URL names, or a new SQLite file."""
    file = tmp_path_factory.mktemp("database") / "test.sqlite3"
    return os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{file}"


@pytest.fixture(scope="session")
def migrated_app(database_url: str) -> Iterator[Flask]:
    """The application on a database that the migrations made."""
    environ = {"TESTING": "true", "DATABASE_URL": database_url}
    app = create_app(load_settings(environ | {"RATE_LIMIT_WRITES": "1000/second"}))
    with app.app_context():
        command.upgrade(get_config(), "head")
    yield app
    with app.app_context():
        get_engine().dispose()


@pytest.fixture
def app(migrated_app: Flask) -> Iterator[Flask]:
    """The application; what a test writes is gone after it."""
    yield migrated_app
    with migrated_app.app_context(), get_engine().begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application."""
    return app.test_client()


@pytest.fixture
def make_app(database_url: str) -> Iterator[Callable[..., Flask]]:
    """Make more applications, for other settings."""
    made = []

    def make(**environ: str) -> Flask:
        defaults = {"TESTING": "true", "DATABASE_URL": database_url}
        app = create_app(load_settings(defaults | environ))
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            get_engine().dispose()
