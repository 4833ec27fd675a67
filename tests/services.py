"""Private real servers on free ports, from the programs that are installed, and clients of them."""

import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

PATIENCE = 60  # seconds until a server that has not answered is given up


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Message
    text: str


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, *, within: float = PATIENCE, **headers: str) -> Answer:
    """Ask a server, and take its refusal for an answer too."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=within) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.headers, refusal.read().decode())


def wait_until(ready: Callable[[], bool], alive: subprocess.Popen[bytes]) -> None:
    """Poll until a server is ready, for as long as it lives."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert alive.poll() is None, f"{alive.args!r} ended with {alive.returncode}"
        assert time.monotonic() < deadline, f"{alive.args!r} was not ready in {PATIENCE} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """End a server and whatever it has started, as Ctrl-C in a terminal does."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        return process.wait(PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], health: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a web server for as long as the block takes; `health` is an address that answers when it is up."""

    def answers() -> bool:
        try:
            return fetch(health, within=5).status < 500
        except (OSError, http.client.HTTPException):
            return False

    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_until(answers, process)
            yield process
        except BaseException:
            print(log.read_text(encoding="utf-8", errors="replace"))
            raise
        finally:
            stop(process, signal.SIGINT)


class PostgreSQL:
    """A private PostgreSQL; it can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Make its data; as root it runs as the user that its package made, since it refuses root."""
        self.programs, self.folder, self.port = programs, folder, free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        quick: list[str | Path] = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        self._popen("initdb", *quick, "-D", folder / "data").wait(PATIENCE)
        self.start()

    def _popen(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        entry = pwd.getpwnam(self.user) if self.user else None
        with (self.folder.parent / "postgresql.log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / program, *arguments],
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=entry and entry.pw_uid,
                group=entry and entry.pw_gid,
                extra_groups=[] if entry else None,
            )

    def start(self) -> None:
        """Come back on the same port with the same data."""
        fast = [f"-c{setting}=off" for setting in ("fsync", "full_page_writes", "synchronous_commit")]
        where: list[str | Path] = [
            "-D",
            self.folder / "data",
            "-k",
            self.folder,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        self.process = self._popen("postgres", *fast, *where)
        probe: list[str | Path] = [self.programs / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        wait_until(lambda: subprocess.run(probe, check=False).returncode == 0, self.process)

    def stop(self) -> None:
        """Drop all connections and end."""
        stop(self.process, signal.SIGINT)


def program(name: str, *places: str, install: str) -> Path:
    """The folder of a server's program; without it a laptop skips the test, and CI fails."""
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ["PATH"]]))
    if found:
        return Path(found).parent
    message = f"{name} is not installed: apt-get install {install}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A private PostgreSQL for as long as the block takes."""
    places = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    programs = program("postgres", *places, install="postgresql")
    # Not pytest's folder: the server's own user has to reach it.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as parent:
        Path(parent).chmod(0o755)
        (Path(parent) / "server").mkdir()
        server = PostgreSQL(programs, Path(parent) / "server")
        try:
            yield server
        finally:
            server.stop()
