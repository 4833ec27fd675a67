"""Private real servers on free ports, from the programs that are installed, and clients of them."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from io import BufferedRWPair
from itertools import count
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

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


def fetch(url: str, *, method: str = "GET", body: object = None, within: float = PATIENCE, **headers: str) -> Answer:
    """Ask a server, and take its refusal for an answer too; a body is sent as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=within) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.headers, refusal.read().decode())


def wait_until(
    ready: Callable[[], bool], alive: subprocess.Popen[bytes] | None = None, within: float = PATIENCE
) -> None:
    """Poll until something is so; if that is up to a server, for as long as it lives."""
    deadline = time.monotonic() + within
    while not ready():
        assert alive is None or alive.poll() is None, f"{alive.args!r} ended with {alive.returncode}"
        assert time.monotonic() < deadline, f"{alive.args if alive else ready!r}: not in {within} s"
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


def program(name: str, package: str) -> Path:
    """A program of a server; without it a laptop skips the test, and CI fails."""
    places = [
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
        os.environ["PATH"],
        "/usr/sbin",
    ]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return Path(found)
    message = f"{name} is not installed: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Database(NamedTuple):
    """A database to work in: its address, and a way to run SQL in it without the project."""

    url: str
    ask: Callable[[str], str]


class Server(ABC):
    """A private server: when it is stopped and started, it keeps its port and, if it keeps any, its data."""

    package: ClassVar[str]
    account: ClassVar[str]  # the user of the system that the package made
    scheme: ClassVar[str]
    ending: ClassVar[signal.Signals]  # drops all connections and ends

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose its place; the options are its program's own. No server should run as root, so root's is another's."""
        self.folder, self.options, self.port = folder, options, free_port()
        self.user = pwd.getpwnam(self.account) if os.geteuid() == 0 else None
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    @property
    def url(self) -> str:
        """Its address, as a project takes it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @abstractmethod
    def running(self) -> list[str | Path]:
        """The command that serves."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it can be used, or raise an `OSError` when it cannot."""

    def environment(self) -> dict[str, str]:
        """The variables that its programs get."""
        return {"HOME": str(self.folder), "PATH": f"{os.environ['PATH']}:/usr/sbin", "LANG": "C.UTF-8"}

    @classmethod
    @contextmanager
    def for_a_while(cls, *options: str) -> Iterator[Self]:
        """A server for as long as the block takes."""
        # Not pytest's folder: the server's own user has to reach it.
        with tempfile.TemporaryDirectory(prefix=f"{cls.scheme}-", ignore_cleanup_errors=True) as parent:
            Path(parent).chmod(0o755)
            (Path(parent) / "server").mkdir()
            server = cls(Path(parent) / "server", *options)
            try:
                server.start()
                yield server
            finally:
                server.stop()

    def popen(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Run a program of the server."""
        with (self.folder.parent / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd="/",
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user and self.user.pw_uid,
                group=self.user and self.user.pw_gid,
                extra_groups=[] if self.user else None,
            )

    def log(self) -> str:
        """What it has said."""
        return (self.folder.parent / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Come back."""
        self.process = self.popen(*self.running())

        def answers() -> bool:
            with suppress(OSError):
                return self.answers()
            return False

        wait_until(answers, self.process)

    def stop(self) -> None:
        """Be gone."""
        stop(self.process, self.ending)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be gone for as long as the block takes."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take connections and answer nothing for as long as the block takes."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    @contextmanager
    def session(self) -> Iterator[BufferedRWPair]:
        """A connection of our own; what is written is sent when it is flushed."""
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        with connection, connection.makefile("rwb") as file:
            yield file


class DatabaseServer(Server):
    """A server of databases."""

    first: ClassVar[str]  # a database that is always there
    sleep: ClassVar[str]
    connection: ClassVar[str]

    owner = "owner"
    password = "pass-of-the-owner"  # noqa: S105 - of a server that lives as long as the tests

    def __init__(self, folder: Path, *options: str) -> None:
        """Make its data."""
        super().__init__(folder, *options)
        self.numbers = count(1)
        (folder / "password").write_text(self.password)
        (folder / "grant.sql").write_text(
            f"GRANT ALL ON *.* TO '{self.owner}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
        )
        assert self.popen(*self.making()).wait(PATIENCE) == 0, self.log()

    @abstractmethod
    def making(self) -> list[str | Path]:
        """The command that makes the data, with an owner who needs a password."""

    @abstractmethod
    def client(self, database: str) -> list[str | Path]:
        """The command that reads SQL and writes what it gives, without decoration."""

    def answers(self) -> bool:
        """Tell whether it can be used."""
        return self.run(self.first, "SELECT 1;").returncode == 0

    def address(self, database: str) -> str:
        """The address of a database, as a project takes it."""
        return f"{self.scheme}://{self.owner}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self) -> Database:
        """A new, empty database."""
        name = f"test_{next(self.numbers)}"
        self.ask(self.first, f"CREATE DATABASE {name};")
        return Database(self.address(name), lambda statement: self.ask(name, statement))

    def run(self, database: str, statements: str) -> subprocess.CompletedProcess[str]:
        """Run SQL, and take its refusal for an answer too."""
        return subprocess.run(
            self.client(database), check=False, input=statements, text=True, capture_output=True, timeout=PATIENCE
        )

    def ask(self, database: str, statements: str) -> str:
        """Run SQL, and return what it gives."""
        result = self.run(database, statements)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    @contextmanager
    def transaction(self, database: str, statement: str) -> Iterator[None]:
        """Keep a transaction open, with the locks of a query that gives a row, for as long as the block takes."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.client(database), stdin=pipe, stdout=pipe, text=True) as session:
            assert session.stdin
            assert session.stdout
            session.stdin.write(f"BEGIN; {statement};\n")
            session.stdin.flush()
            assert session.stdout.readline()
            yield


class PostgreSQL(DatabaseServer):
    """PostgreSQL, without the care for data that outlives a crash."""

    package = "postgresql"
    account = "postgres"
    scheme = "postgresql"
    first = "postgres"
    ending = signal.SIGINT
    sleep = "SELECT pg_sleep({})"
    connection = "SELECT pg_backend_pid()"

    def making(self) -> list[str | Path]:
        """The command that makes the data, with an owner who needs a password."""
        secret = ["--auth=scram-sha-256", f"--username={self.owner}", f"--pwfile={self.folder}/password"]
        quick = ["--encoding=UTF8", "--no-locale", "--no-sync"]
        return [program("initdb", self.package), *secret, *quick, "-D", f"{self.folder}/data"]

    def running(self) -> list[str | Path]:
        """The command that serves the data."""
        quick = [f"-c{setting}=off" for setting in ("fsync", "full_page_writes", "synchronous_commit")]
        where = ["-D", f"{self.folder}/data", "-k", f"{self.folder}", "-h", "127.0.0.1", "-p", f"{self.port}"]
        return [program("postgres", self.package), *quick, *where]

    def client(self, database: str) -> list[str | Path]:
        """The command that reads SQL and writes what it gives, without decoration."""
        plain = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        return [program("psql", self.package), *plain, self.address(database)]


class MariaDB(DatabaseServer):
    """MariaDB, without the care for data that outlives a crash."""

    package = "mariadb-server"
    account = "mysql"
    scheme = "mysql"
    first = "mysql"
    ending = signal.SIGTERM
    sleep = "SELECT SLEEP({})"
    connection = "SELECT CONNECTION_ID()"

    def making(self) -> list[str | Path]:
        """The command that makes the data; the owner is made when it starts."""
        plain = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        return [program("mariadb-install-db", self.package), *plain, f"--datadir={self.folder}/data"]

    def running(self) -> list[str | Path]:
        """The command that serves the data."""
        quick = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--skip-name-resolve"]
        where = [f"--datadir={self.folder}/data", f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"]
        loopback = ["--bind-address=127.0.0.1", f"--port={self.port}"]
        text = ["--character-set-server=utf8mb4", f"--init-file={self.folder}/grant.sql"]
        return [program("mariadbd", self.package), "--no-defaults", *quick, *where, *loopback, *text]

    def client(self, database: str) -> list[str | Path]:
        """The command that reads SQL and writes what it gives, without decoration."""
        plain = ["--no-defaults", "--batch", "--unbuffered", "--skip-column-names"]
        where = ["--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}"]
        who = [f"--user={self.owner}", f"--password={self.password}"]
        return [program("mariadb", self.package), *plain, *where, *who, database]


class Cache(Server):
    """A cache server, which forgets everything when it ends: at once, as in a crash."""

    ending = signal.SIGKILL

    @abstractmethod
    def keys(self) -> list[str]:
        """List all keys of all clients."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Look up a value."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""


class Redis(Cache):
    """Redis, which keeps nothing on disk."""

    package = "redis-server"
    account = "redis"
    scheme = "redis"
    persistence: tuple[str, ...] = ("--appendonly", "no")

    def running(self) -> list[str | Path]:
        """The command that serves."""
        where = ["--bind", "127.0.0.1", "--port", f"{self.port}", "--dir", f"{self.folder}", "--save", ""]
        return [program("redis-server", self.package), *where, *self.persistence, *self.options]

    def answers(self) -> bool:
        """Tell whether it can be used."""
        return self.ask("PING") == [b"PONG"]

    def keys(self) -> list[str]:
        """List all keys of all clients."""
        return sorted(key.decode() for key in self.ask("KEYS", "*"))

    def get(self, key: str) -> bytes:
        """Look up a value."""
        return self.ask("GET", key)[0]

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self.ask("SET", key, value)

    def ask(self, *words: str | bytes) -> list[bytes]:
        """Send a command, and return what it gives; of one thing a list, too (RESP2)."""
        given = [word if isinstance(word, bytes) else word.encode() for word in words]
        with self.session() as session:
            session.write(b"*%d\r\n" % len(given))
            for word in given:
                session.write(b"$%d\r\n%s\r\n" % (len(word), word))
            session.flush()
            return self.read(session)

    def read(self, session: BufferedRWPair) -> list[bytes]:
        """Read one answer."""
        line = session.readline()
        kind, rest = line[:1], line[1:-2]
        if not kind or kind not in b"+:$*":
            raise ConnectionError(line)
        if kind == b"*":
            return [part for _ in range(int(rest)) for part in self.read(session)]
        return [session.read(int(rest) + 2)[:-2] if kind == b"$" else rest]


class Memcached(Cache):
    """Memcached."""

    package = "memcached"
    account = "memcache"
    scheme = "memcached"

    def running(self) -> list[str | Path]:
        """The command that serves."""
        where = ["-l", "127.0.0.1", "-p", f"{self.port}", "-U", "0"]
        return [program("memcached", self.package), *where, *self.options]

    def answers(self) -> bool:
        """Tell whether it can be used."""
        return self.ask(b"version")[0].startswith(b"VERSION")

    def keys(self) -> list[str]:
        """List all keys of all clients: a list lacks those that are in use at that moment."""
        lines = [line for _ in range(9) for line in self.ask(b"lru_crawler metadump hash", until=b"END")[:-1]]
        return sorted({urllib.parse.unquote(line.split()[0].decode()).removeprefix("key=") for line in lines})

    def get(self, key: str) -> bytes:
        """Look up a value."""
        with self.session() as session:
            session.write(f"get {key}\r\n".encode())
            session.flush()
            return session.read(int(session.readline().split()[-1]))

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        assert self.ask(b"set %s 0 0 %d\r\n%s" % (key.encode(), len(value), value)) == [b"STORED"]

    def ask(self, command: bytes, until: bytes = b"") -> list[bytes]:
        """Send a command, and return the lines that it gives: one, or all until one of a kind."""
        with self.session() as session:
            session.write(command + b"\r\n")
            session.flush()
            lines = [session.readline().strip()]
            while not lines[-1].startswith(until):
                lines.append(session.readline().strip())
            return lines


class Directory:
    """A place for files that can be taken away, as a disk can that is not mounted: root cannot write there either."""

    def __init__(self, path: Path) -> None:
        """Make it, by a link that can be put elsewhere at once."""
        self.path, self.url = path, f"file://{path}"
        self.place = path.with_suffix(".place")
        self.place.mkdir()
        self.lead_to(self.place)

    def lead_to(self, place: Path) -> None:
        """Let our path be another one."""
        link = self.path.with_suffix(".link")
        link.symlink_to(place)
        link.replace(self.path)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be no directory for as long as the block takes; what was in it comes back."""
        self.lead_to(Path(os.devnull))
        try:
            yield
        finally:
            self.lead_to(self.place)

    def keys(self) -> list[str]:
        """List all files."""
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file())

    def get(self, key: str) -> bytes:
        """Look up a value."""
        return (self.path / key).read_bytes()

    def put(self, key: str, value: bytes) -> None:
        """Write over a file, and let it live long."""
        (self.path / key).write_bytes(value)
        ends = time.time() + PATIENCE
        os.utime(self.path / key, (ends, ends))


class Broker(Server):
    """A server of queues, which keeps what waits there."""

    ending = signal.SIGTERM

    @abstractmethod
    def clear(self) -> None:
        """Forget all jobs."""


class RedisBroker(Broker, Redis):
    """Redis, with its data in an append-only file."""

    persistence = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")

    def clear(self) -> None:
        """Forget all jobs."""
        self.ask("FLUSHALL")


class RabbitMQ(Broker):
    """RabbitMQ, one node."""

    package = "rabbitmq-server"
    account = "rabbitmq"
    scheme = "amqp"

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose the ports of Erlang as well."""
        super().__init__(folder, *options)
        self.names, self.distribution = free_port(), free_port()
        (folder / "rabbitmq.conf").write_text("log.console = true\n")
        (folder / "enabled_plugins").write_text("[].")

    @property
    def url(self) -> str:
        """Its address, with its first virtual host."""
        return f"{super().url}//"

    def running(self) -> list[str | Path]:
        """The command that serves."""
        found = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
        return [found or program("rabbitmq-server", self.package), *self.options]

    def environment(self) -> dict[str, str]:
        """The variables that keep it apart from any other node."""
        own = {
            "NODENAME": f"test{self.port}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": self.port,
            "DIST_PORT": self.distribution,
            "MNESIA_BASE": self.folder / "data",
            "LOG_BASE": self.folder / "logs",
            "CONFIG_FILE": self.folder / "rabbitmq.conf",
            "ENABLED_PLUGINS_FILE": self.folder / "enabled_plugins",
        }
        erlang = {"ERL_EPMD_PORT": str(self.names), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        return super().environment() | erlang | {f"RABBITMQ_{name}": str(value) for name, value in own.items()}

    def answers(self) -> bool:
        """Tell whether it can be used."""
        with self.session() as session:
            session.write(b"AMQP\x00\x00\x09\x01")
            session.flush()
            return session.read(1) == b"\x01"

    def stop(self) -> None:
        """Be gone, and with it the program that knows its name."""
        super().stop()
        epmd: list[str | Path] = [program("epmd", "erlang-base"), "-port", str(self.names), "-kill"]
        subprocess.run(epmd, check=False, env=self.environment(), capture_output=True)

    def clear(self) -> None:
        """Forget all jobs, and come back."""
        self.stop()
        shutil.rmtree(self.folder / "data")
        self.start()
