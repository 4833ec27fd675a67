import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import CommandLine
from flask import Flask
from sqlalchemy import inspect

from {{ cookiecutter.package_name }}.core.database import Base, get_engine


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """The context in which Alembic finds the application."""
    with app.app_context():
        yield


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the migrations."""
    shutil.copytree("migrations", tmp_path / "migrations")
    shutil.copy("pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(exist_ok=True)
    return folder


def run(*arguments: str) -> None:
    """Run Alembic as its command line does."""
    CommandLine().main(arguments)


def tables() -> set[str]:
    return set(inspect(get_engine()).get_table_names()) - {"alembic_version"}


def write_migration(folder: Path, revision: str, follows: str | None) -> None:
    text = f"revision = {revision!r}\ndown_revision = {follows!r}\n"
    (folder / f"{revision}.py").write_text(f"{text}def upgrade(): pass\ndef downgrade(): pass\n")


@pytest.mark.usefixtures("context")
def test_migrations_and_models_agree() -> None:
    run("check")  # exits with an error if they differ
    assert tables() == set(Base.metadata.tables)


@pytest.mark.usefixtures("context")
def test_migrations_downgrade_and_upgrade() -> None:
    run("downgrade", "base")
    assert tables() == set()
    run("upgrade", "head")
    assert tables() == set(Base.metadata.tables)


@pytest.mark.usefixtures("context")
def test_printed_sql_has_no_log_lines(
    versions: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_migration(versions, "one", None)
    run("upgrade", "one", "--sql")
    output = capsys.readouterr().out
    assert "CREATE TABLE alembic_version" in output
    assert '"event"' not in output


@pytest.mark.usefixtures("context")
def test_migration_is_written(versions: Path) -> None:
    before = set(versions.glob("*.py"))
    run("revision", "--autogenerate", "-m", "add color")
    (written,) = set(versions.glob("*.py")) - before
    assert written.name.endswith("_add_color.py")
    assert '"""add color.' in written.read_text()


@pytest.mark.usefixtures("context")
def test_two_heads_are_merged(versions: Path) -> None:
    for revision in ("one", "two"):
        write_migration(versions, revision, None)
    with pytest.raises(SystemExit, match="run `alembic merge heads"):
        run("upgrade", "head")
    run("merge", "heads", "-m", "merge")
    assert list(versions.glob("*_merge.py"))
