"""Rendered projects for the benchmarks. Their servers use the command of `make run-prod`."""

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Self

from cookiecutter.main import cookiecutter

from benchmarks.load import HOST
from benchmarks.render_time import TEMPLATE, discard_output
from tests.deployed_project import ALLOW_ANONYMOUS
from tests.matrix import PROJECT
from tests.services import create_venv, free_port, serving

PACKAGE = "my_service"
PEERS = Path(__file__).with_name("peers")
SMALL_RESPONSE = {"message": "It runs.", "numbers": [1, 2, 3]}
# Milliseconds of `/wait`.
WAIT = 20
ROUTES = f"""

from time import sleep

app.add_url_rule("/wait", "wait", lambda: sleep({WAIT / 1000}) or {SMALL_RESPONSE!r})
app.add_url_rule("/small", "small", lambda: {SMALL_RESPONSE!r})
app.add_url_rule("/uncached", "uncached", app.view_functions["catalog.list_products"].__wrapped__)
{ALLOW_ANONYMOUS}"""

SETTINGS = {
    "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
    "ALLOWED_HOSTS": f"127.0.0.1,{HOST}",
    # No benchmark reaches these limits.
    "RATE_LIMIT": "100000000/second",
    "RATE_LIMIT_WRITES": "100000000/second",
    "TRUSTED_PROXY_HOPS": "0",
    "CACHE_URL": "memory://",
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    "SMTP_URL": "log:",
    "MAIL_DEFAULT_SENDER": "service@example.com",
}


class Project:
    """A rendered project with three additional routes: a small JSON response, the same after a pause, an uncached list.

    It has no authentication unless `auth` is given, as Flask alone and version 0.2.0, with which it is compared.
    """

    def __init__(
        self, folder: Path, programs: Path, auth: str = "none", template: Path | str = TEMPLATE, **answers: str
    ) -> None:
        """Render the project."""
        answers["auth"] = auth
        with discard_output():
            folder_name = cookiecutter(
                str(template), no_input=True, default_config=True, output_dir=str(folder), extra_context=answers
            )
        self.folder, self.programs = Path(folder_name), programs
        (self.folder / ".env").unlink()
        (package,) = (self.folder / "src").iterdir()
        with (package / "wsgi.py").open("a", encoding="utf-8") as wsgi:
            wsgi.write(ROUTES)
        makefile = (self.folder / "Makefile").read_text(encoding="utf-8")
        found = re.search(r"(?m)^\t.* --no-override -- (.*)$", makefile)
        assert found
        self.command = shlex.split(found[1])

    def with_own_packages(self, folder: Path) -> Self:
        """Return the project with an environment that has only its dependencies: some packages import others."""
        project = copy(self)
        project.programs = make_environment(folder, self.folder)
        return project

    def environ(self, **variables: str) -> dict[str, str]:
        """Return the environment variables of production."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": str(self.folder / "src"), **variables}

    def run(self, *arguments: str | Path, **variables: str) -> str:
        """Run a program of the virtual environment, and return its output."""
        command = [str(self.programs / arguments[0]), *map(str, arguments[1:])]
        environ = self.environ(**variables)
        return subprocess.run(
            command, check=True, cwd=self.folder, env=environ, stdout=subprocess.PIPE, text=True
        ).stdout

    def seed(self, products: int, **variables: str) -> None:
        """Create the database and insert `products` products."""
        flask = ["flask", "--app", f"{PACKAGE}.wsgi"]
        self.run("alembic", "upgrade", "head", **variables)
        self.run(*flask, "seed", "--extra", str(products), **variables)

    def build_assets(self, public: Path, **variables: str) -> None:
        """Build the static files into the folder `public`."""
        flask = ["flask", "--app", f"{PACKAGE}.wsgi"]
        self.run(*flask, "assets", "build", **variables, FLASK_DEBUG="1", STATIC_ROOT=str(public))

    @contextmanager
    def serving(
        self, settings: dict[str, str], peer: str = "", command: list[str] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Serve the project, or an application from `peers/`; yield the port and the session ID of the processes."""
        port = free_port()
        environ = self.environ(**settings, BIND=f"127.0.0.1:{port}")
        if peer:
            environ["PYTHONPATH"] = os.pathsep.join([str(PEERS / peer), environ["PYTHONPATH"]])
        program, *arguments = [word.replace("{bind}", environ["BIND"]) for word in command or self.command]
        url, log = f"http://127.0.0.1:{port}/small", self.folder.parent / f"{port}.log"
        with serving([self.programs / program, *arguments], self.folder, environ, url, log) as process:
            yield port, process.pid


def make_environment(folder: Path, project: Path = PROJECT) -> Path:
    """Install the dependencies of a project, or of all: tags are comments, so the template's file has all of them."""
    data = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    return create_venv([*data["project"]["dependencies"], *data["dependency-groups"]["build"]], folder)
