# {% if cookiecutter.__database %}
import os
# {% endif %}
from collections.abc import (
    Callable,
    # {% if cookiecutter.__database %}
    Iterator,
    # {% endif %}
)

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import load_settings
# {% if cookiecutter.__database %}
from {{ cookiecutter.package_name }}.database import Base, get_engine
from {{ cookiecutter.package_name }}.database.commands import run
# {% endif %}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application."""
    return app.test_client()


# {% if cookiecutter.database == "none" %}
@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The application."""
    return make_app()


@pytest.fixture(scope="session")
def make_app() -> Callable[..., Flask]:
    """Make applications, for settings of their own."""

    def make(**variables: str) -> Flask:
        return create_app(load_settings({"FLASK_TESTING": "true"} | variables))

    return make
# {% endif %}
# {% if cookiecutter.__database %}
@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of all applications: a server that TEST_DATABASE_URL names, or a new file."""
    file = tmp_path_factory.mktemp("database") / "test.sqlite3"
    url = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{file}"
    return {"FLASK_TESTING": "true", "DATABASE_URL": url}


@pytest.fixture(scope="session")
def migrated_app(environ: dict[str, str]) -> Iterator[Flask]:
    """The application on a database that the migrations made."""
    app = create_app(load_settings(environ | {"RATE_LIMIT_WRITES": "1000/second"}))
    with app.app_context():
        run("upgrade", "head")
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
def make_app(environ: dict[str, str]) -> Iterator[Callable[..., Flask]]:
    """Make more applications, for settings of their own."""
    made = []

    def make(**variables: str) -> Flask:
        app = create_app(load_settings(environ | variables))
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            get_engine().dispose()
# {% endif %}
