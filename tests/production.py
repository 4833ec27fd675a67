"""A project as it runs in production, and clients who ask it without a pause."""

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

PRODUCTION = {
    "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
    "ALLOWED_HOSTS": "127.0.0.1",
    "RATE_LIMIT": "100000/second",
    "RATE_LIMIT_WRITES": "100000/second",
    # Each process keeps what it made; the tests of caches have a server.
    "CACHE_URL": "memory://",
    # Jobs run where they are asked for; the tests of queues have a broker.
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    "SMTP_URL": "log:",
    "MAIL_FROM": "service@example.com",
}
PROMPT = 15  # seconds: a generous bound for what must not hang


class Production:
    """A project with the settings of production."""

    def __init__(self, folder: Path, programs: Path, run: Run, variables: dict[str, str]) -> None:
        """Leave nothing to development."""
        (folder / ".env").unlink()
        (package,) = (folder / "src").iterdir()
        self.folder, self.programs, self.run, self.package = folder, programs, run, package.name
        self.application = f"{package.name}.wsgi"
        self.variables = {**PRODUCTION, **variables, "PYTHONPATH": f"src{os.pathsep}."}

    def flask(self, *words: str, typed: str = "", **variables: str) -> CompletedProcess[str]:
        """Run a command to its end, whatever it says."""
        flask = [self.programs / "flask", "--app", self.application]
        return self.run(*flask, *words, cwd=self.folder, typed=typed, **{**self.variables, **variables})

    def succeed(self, *words: str, **variables: str) -> str:
        """Run a command, and return what it printed."""
        result = self.flask(*words, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def prepare(self, *more: str) -> None:
        """Migrate, and load the example's data."""
        self.succeed("db", "upgrade")
        self.succeed("seed", *more)

    @contextmanager
    def serving(self, application: str = "", *, threads: int = 4, **variables: str) -> Iterator[str]:
        """Two processes of a server that forks, for as long as the block takes; gives their address."""
        port = free_port()
        site = f"http://127.0.0.1:{port}"
        # With one thread it is the one that forked; more are threads of a pool.
        options = ["--preload", "--no-control-socket", "--workers=2", f"--threads={threads}"]
        what = ["--graceful-timeout=2", f"--bind=127.0.0.1:{port}", application or f"{self.application}:app"]
        command: list[str | Path] = [self.programs / "gunicorn", *options, *what]
        with serving(command, self.folder, {**self.variables, **variables}, f"{site}/health/live", self.log(site)):
            yield site

    def log(self, site: str) -> Path:
        """The file that the processes of an address log to."""
        return self.folder.parent / f"gunicorn-{site.rpartition(':')[2]}.log"

    def records(self, site: str, event: str) -> list[dict[str, Any]]:
        """What the processes of an address have logged so far of an event."""
        lines = self.log(site).read_text(encoding="utf-8").splitlines()
        # The last line may not be whole yet.
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [record for record in records if record["event"] == event]


def refused(result: CompletedProcess[str], reason: str, *secrets: str) -> None:
    """Make sure that a command told in one line why it failed, and no secret."""
    assert result.returncode != 0
    *title, line = result.stderr.splitlines()
    assert title in ([], ["Error: the settings are not fit to start with (see .env.example):"]), result.stderr
    assert line.startswith("  " if title else "Error: "), line
    assert re.search(reason, line), line
    assert not any(secret in result.stdout + result.stderr for secret in (*secrets, PRODUCTION["SECRET_KEY"]))


class Heard(NamedTuple):
    """An answer that a client got."""

    began: float
    took: float
    status: int


@contextmanager
def load(address: str, **headers: str) -> Iterator[list[Heard]]:
    """Four clients who ask without a pause for as long as the block takes; the list tells what they heard."""
    heard: list[Heard] = []
    done = Event()

    def ask() -> None:
        for _ in range(20_000):
            if done.is_set():
                return
            began = time.monotonic()
            status = fetch(address, within=PROMPT, **headers).status
            heard.append(Heard(began, time.monotonic() - began, status))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            yield heard
        finally:
            done.set()
        for client in clients:
            client.result()
