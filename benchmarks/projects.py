"""What is measured: renders in one environment, and their servers as `make serve` starts them."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cookiecutter.main import cookiecutter

from benchmarks.bake import TEMPLATE, silence
from benchmarks.load import HOST
from tests.services import free_port, serving

PACKAGE = "my_service"
PEERS = Path(__file__).with_name("peers")
SMALL = {"message": "It runs.", "numbers": [1, 2, 3]}
ROUTES = f"""

app.add_url_rule("/small", "small", lambda: {SMALL!r})
app.add_url_rule("/made", "made", app.view_functions["catalog.list_products"].__wrapped__)
"""

SETTINGS = {
    "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
    "ALLOWED_HOSTS": f"127.0.0.1,{HOST}",
    # What nothing reaches.
    "RATE_LIMIT": "100000000/second",
    "RATE_LIMIT_WRITES": "100000000/second",
    "TRUSTED_PROXY_HOPS": "0",
    "CACHE_URL": "memory://",
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    "SMTP_URL": "log:",
    "MAIL_FROM": "service@example.com",
}


class Project:
    """A render, with two more routes: a small JSON, and a list that no cache keeps."""

    def __init__(self, folder: Path, programs: Path, **answers: str) -> None:
        """Render it."""
        with silence():
            made = cookiecutter(
                str(TEMPLATE), no_input=True, default_config=True, output_dir=str(folder), extra_context=answers
            )
        self.folder, self.programs = Path(made), programs
        (self.folder / ".env").unlink()
        with (self.folder / "src" / PACKAGE / "wsgi.py").open("a", encoding="utf-8") as wsgi:
            wsgi.write(ROUTES)
        makefile = (self.folder / "Makefile").read_text(encoding="utf-8")
        found = re.search(r"(?m)^\t.* --no-override -- (.*)$", makefile)
        assert found
        self.command = shlex.split(found[1])

    def environ(self, **variables: str) -> dict[str, str]:
        """The settings of production."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": str(self.folder / "src"), **variables}

    def run(self, *words: str | Path, **variables: str) -> str:
        """Run a program of the environment, and return what it prints."""
        command = [str(self.programs / words[0]), *map(str, words[1:])]
        environ = self.environ(**variables)
        return subprocess.run(
            command, check=True, cwd=self.folder, env=environ, stdout=subprocess.PIPE, text=True
        ).stdout

    def fill(self, products: int, **variables: str) -> None:
        """Make the catalog."""
        flask = ["flask", "--app", f"{PACKAGE}.wsgi"]
        self.run(*flask, "db", "upgrade", **variables)
        self.run(*flask, "seed", "--more", str(products), **variables)

    def build(self, public: Path, **variables: str) -> None:
        """Build static files."""
        flask = ["flask", "--app", f"{PACKAGE}.wsgi"]
        self.run(*flask, "assets", "build", **variables, FLASK_DEBUG="1", STATIC_ROOT=str(public))

    @contextmanager
    def serving(
        self, settings: dict[str, str], peer: str = "", command: list[str] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Serve, in place of the render a peer if one is named; gives the port, and the session of the processes."""
        port = free_port()
        environ = self.environ(**settings, BIND=f"127.0.0.1:{port}")
        if peer:
            environ["PYTHONPATH"] = os.pathsep.join([str(PEERS / peer), environ["PYTHONPATH"]])
        program, *words = [word.replace("{bind}", environ["BIND"]) for word in command or self.command]
        site, log = f"http://127.0.0.1:{port}/small", self.folder.parent / f"{port}.log"
        with serving([self.programs / program, *words], self.folder, environ, site, log) as process:
            yield port, process.pid


def make_environment(folder: Path) -> Path:
    """Install what any of the projects depends on; the template's own file lists all, since its tags are comments."""
    data = tomllib.loads((TEMPLATE / "{{cookiecutter.project_slug}}/pyproject.toml").read_text(encoding="utf-8"))
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder]
    needed = [*data["project"]["dependencies"], *data["dependency-groups"]["build"]]
    subprocess.run([*uv, *install, *needed], check=True)
    return folder / "bin"
