import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from sqlalchemy import text

from {{ cookiecutter.package_name }}.core.database import get_session

FORK = """
import os
from {package} import create_app
from {package}.core.database import get_engine

app = create_app()
with app.app_context():
    engine = get_engine()
    parent = engine.connect()
    pool = engine.pool
    child = os.fork()
    if child == 0:
        assert engine.pool is not pool
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert parent.exec_driver_sql("SELECT 1").scalar() == 1
"""


def test_unreachable_database_returns_503(
    make_app: Callable[..., Flask],
    tmp_path: Path,
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/missing/file.sqlite3")
    app.add_url_rule("/ask", view_func=lambda: str(get_session().scalar(text("SELECT 1"))))
    response = app.test_client().get("/ask")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    ready = app.test_client().get("/health/ready")
    assert ready.status_code == 503
    assert ready.get_json()["checks"]["database"]["error"] == "OperationalError"
    (tmp_path / "missing").mkdir()
    assert app.test_client().get("/ask").status_code == 200
    assert app.test_client().get("/health/ready").status_code == 200


def test_forked_process_has_its_own_connections(environ: dict[str, str]) -> None:
    variables = os.environ | environ | {"PYTHONPATH": "src"}
    package = "{{ cookiecutter.package_name }}"
    script = FORK.format(package=package)
    subprocess.run([sys.executable, "-c", script], env=variables, check=True)
