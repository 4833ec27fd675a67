"""A project with production settings, and clients that send requests continuously."""

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event
from typing import Any, NamedTuple

from tests.conftest import Run
from tests.services import fetch, free_port, serving

DATA = Path(__file__).with_name("data")
# Public keys, and a token of their issuer with all permissions. Its private key does not exist any more.
JWKS = DATA / "jwks.json"
AUTHORIZATION: dict[str, Any] = {"Authorization": f"Bearer {(DATA / 'token.txt').read_text(encoding='utf-8').strip()}"}

PRODUCTION_SETTINGS = {
    "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
    "ALLOWED_HOSTS": "127.0.0.1",
    "RATE_LIMIT": "100000/second",
    "RATE_LIMIT_WRITES": "100000/second",
    "RATE_LIMIT_IMPORTS": "100000/second",
    "RATE_LIMIT_TITLES": "100000/second",
    "RATE_LIMIT_WEB_VITALS": "100000/second",
    # Each process has its own cache; the tests of caches have a server.
    "CACHE_URL": "memory://",
    # Jobs run in the process that sends them; the tests of queues have a broker.
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    "JWT_ISSUER": "https://issuer.example.com",
    "JWT_AUDIENCE": "service",
    "JWT_JWKS_URL": JWKS.as_uri(),
    "OIDC_ISSUER": "https://issuer.example.com",
    "OIDC_CLIENT_ID": "service",
    "SMTP_URL": "log:",
    "MAIL_DEFAULT_SENDER": "service@example.com",
}
# Appended to modules with views for tests: a view without an access rule gets 403 where there is authentication.
ALLOW_ANONYMOUS = """

for view in app.view_functions.values():
    vars(getattr(view, "__func__", view)).setdefault("access_rule", None)
"""
PAUSE = 0.01  # seconds between the requests of a client; more requests would only cost CPU time
SHORT_TIMEOUT = 15  # seconds: upper bound for operations that must not hang


class DeployedProject:
    """A project with production settings."""

    def __init__(self, folder: Path, programs: Path, run: Run, variables: dict[str, str]) -> None:
        """Delete the development settings in `.env`."""
        (folder / ".env").unlink()
        (package,) = (folder / "src").iterdir()
        self.folder, self.programs, self.run, self.package = folder, programs, run, package.name
        self.application = f"{package.name}.wsgi"
        self.variables = {**PRODUCTION_SETTINGS, **variables, "PYTHONPATH": f"src{os.pathsep}."}
        # Tests start many processes, which do not write bytecode.
        run(programs / "python", "-m", "compileall", "-q", "src", cwd=folder)

    def flask(self, *words: str, typed: str = "", **variables: str) -> CompletedProcess[str]:
        """Run a `flask` command, whether it succeeds or not."""
        flask = [self.programs / "flask", "--app", self.application]
        return self.run(*flask, *words, cwd=self.folder, typed=typed, **{**self.variables, **variables})

    def alembic(self, *words: str, **variables: str) -> CompletedProcess[str]:
        """Run an Alembic command, whether it succeeds or not."""
        return self.run(self.programs / "alembic", *words, cwd=self.folder, **{**self.variables, **variables})

    def migrate(self, *words: str, **variables: str) -> str:
        """Run an Alembic command that must succeed, by default `upgrade head`; return its output."""
        result = self.alembic(*(words or ("upgrade", "head")), **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def run_flask(self, *words: str, **variables: str) -> str:
        """Run a `flask` command that must succeed, and return its output."""
        result = self.flask(*words, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def migrate_and_seed(self, *more: str) -> None:
        """Migrate the database and load the example's data."""
        self.migrate()
        self.run_flask("seed", *more)

    @contextmanager
    def serve(self, application: str = "", *, threads: int = 4, **variables: str) -> Iterator[str]:
        """Run gunicorn with two worker processes within a `with` block; the value is its base URL."""
        port = free_port()
        site = f"http://127.0.0.1:{port}"
        # With one thread requests run in the worker's main thread; with more they run in a thread pool.
        options = ["--preload", "--no-control-socket", "--workers=2", f"--threads={threads}"]
        addresses = ["--graceful-timeout=2", f"--bind=127.0.0.1:{port}", application or f"{self.application}:app"]
        command: list[str | Path] = [self.programs / "gunicorn", *options, *addresses]
        variables = {**self.variables, "WEB_THREADS": str(threads), **variables}
        with serving(command, self.folder, variables, f"{site}/health/live", self.log_file(site)):
            yield site

    def log_file(self, site: str) -> Path:
        """Return the log file of the server at a URL."""
        return self.folder.parent / f"gunicorn-{site.rpartition(':')[2]}.log"

    def log_records(self, site: str, event: str) -> list[dict[str, Any]]:
        """Return the log records of an event that the server at a URL has written so far."""
        lines = self.log_file(site).read_text(encoding="utf-8").splitlines()
        # The last line may be incomplete.
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [record for record in records if record["event"] == event]


def assert_fails_with(result: CompletedProcess[str], reason: str, *secrets: str) -> None:
    """Assert that a command failed with a one-line reason and printed no secret."""
    assert result.returncode != 0
    *title, line = result.stderr.splitlines()
    assert title in ([], ["Error: missing or invalid settings (see .env.example):"]), result.stderr
    assert line.startswith("  " if title else "Error: "), line
    assert re.search(reason, line), line
    assert not any(secret in result.stdout + result.stderr for secret in (*secrets, PRODUCTION_SETTINGS["SECRET_KEY"]))


class TimedResponse(NamedTuple):
    """The duration and status of a response."""

    began: float
    took: float
    status: int


@contextmanager
def continuous_requests(url: str, **headers: str) -> Iterator[list[TimedResponse]]:
    """Send requests continuously from four clients within a `with` block; the value is the list of responses so far."""
    responses: list[TimedResponse] = []
    done = Event()

    def send_requests() -> None:
        for _ in range(20_000):
            if done.is_set():
                return
            began = time.monotonic()
            status = fetch(url, timeout=SHORT_TIMEOUT, **headers).status
            responses.append(TimedResponse(began, time.monotonic() - began, status))
            time.sleep(PAUSE)

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(send_requests) for _ in range(4)]
        try:
            yield responses
        finally:
            done.set()
        for client in clients:
            client.result()
