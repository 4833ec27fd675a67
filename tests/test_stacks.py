"""Projects against the real servers that they would have in production."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.answers import ROWS, each
from tests.conftest import Run
from tests.services import PostgreSQL, fetch, free_port, postgresql, serving

ON_POSTGRESQL = [row for row in ROWS if row.options["database"] == "postgresql" and row.options["example_app"]][:1]
PRODUCTION = {
    "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
    "ALLOWED_HOSTS": "127.0.0.1",
}


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    """One private server for the tests of a process."""
    with postgresql() as server:
        yield server


def package_of(project: Path) -> str:
    """The name of a project's package."""
    (package,) = (project / "src").iterdir()
    return package.name


@each(ON_POSTGRESQL)
def test_tests_pass_on_postgresql(workspace: Path, environment: Path, run: Run, server: PostgreSQL) -> None:
    """The project's own tests, on the server instead of the embedded default."""
    command = ["python", "-m", "pytest", "-p", "no:cacheprovider"]
    result = run(environment / command[0], *command[1:], cwd=workspace, TEST_DATABASE_URL=server.url)
    assert result.returncode == 0, result.stdout + result.stderr


@each(ON_POSTGRESQL)
def test_serves_from_postgresql(
    workspace: Path, environment: Path, run: Run, server: PostgreSQL, bare: dict[str, str], tmp_path: Path
) -> None:
    """Migrate, boot without debug, answer; say so while the database is away, and recover when it is back."""
    (workspace / ".env").unlink()
    production = {**PRODUCTION, "DATABASE_URL": server.url}
    flask: list[str | Path] = [environment / "flask", "--app", f"{package_of(workspace)}.wsgi"]
    source = {"PYTHONPATH": "src"}

    refused = run(*flask, "db", "upgrade", cwd=workspace, **source)
    assert refused.returncode != 0, "it starts in production without a setting"
    assert all(name in refused.stderr for name in production), refused.stderr
    assert "Traceback" not in refused.stderr

    for step in (["db", "upgrade"], ["seed"]):
        result = run(*flask, *step, cwd=workspace, **source, **production)
        assert result.returncode == 0, result.stdout + result.stderr

    port = free_port()
    site = f"http://127.0.0.1:{port}"
    command = [*flask, "run", "--port", str(port)]
    with serving(command, workspace, {**bare, **source, **production}, f"{site}/health/live", tmp_path / "log"):
        assert fetch(f"{site}/health/live").status == 200
        assert fetch(f"{site}/health/ready").status == 200
        products = fetch(f"{site}/api/v1/products")
        assert products.status == 200
        assert json.loads(products.text)["items"]

        server.stop()
        away = fetch(f"{site}/health/ready", within=10)
        assert away.status == 503
        assert json.loads(away.text)["checks"]["database"]["status"] != "ok"
        assert fetch(f"{site}/health/live").status == 200
        broken = fetch(f"{site}/api/v1/products", within=30)
        assert broken.status >= 500
        assert "Traceback" not in broken.text
        assert str(server.port) not in broken.text

        server.start()
        assert fetch(f"{site}/health/ready", within=10).status == 200
        assert fetch(f"{site}/api/v1/products").status == 200
