"""Private instances of real servers on free ports, started from installed programs, and clients for them."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import Message
from io import BufferedRWPair
from itertools import count
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import pytest

from tests import certificates

TIMEOUT = 60  # seconds until a server that does not respond counts as failed


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Message
    text: str


def free_port() -> int:
    """Return a free port. gixy 0.2.59 treats any port that contains 443, such as 44300, as HTTPS: those are skipped."""
    port = 443
    while "443" in str(port):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
    return port


def fetch(url: str, *, method: str = "GET", body: object = None, timeout: float = TIMEOUT, **headers: str) -> Response:
    """Send a request and return the response, also for an error status; a body that is not bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return Response(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.headers, error.read().decode())


def wait_until(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes] | subprocess.Popen[str] | None = None,
    timeout: float = TIMEOUT,
) -> None:
    """Poll until `ready` returns true; fail when the deadline passes or the process ends.

    A condition that takes long, because it starts a program, is polled less often: other processes need the
    processor, too.
    """
    began = time.monotonic()
    deadline = began + timeout
    while not ready():
        assert process is None or process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        took = time.monotonic() - began
        assert time.monotonic() < deadline, f"{process.args if process else ready!r}: not in {timeout} s"
        time.sleep(min(max(0.05, took), 0.5))
        began = time.monotonic()


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send a signal to a server and its process group, then kill what is left; return the exit status."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        return process.wait(TIMEOUT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str], health: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a web server within a `with` block; `health` is a URL that responds when the server is ready."""

    def is_ready() -> bool:
        try:
            return fetch(health, timeout=5).status < 500
        except (OSError, http.client.HTTPException):
            return False

    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            wait_until(is_ready, process)
            yield process
        except BaseException:
            print(log.read_text(encoding="utf-8", errors="replace"))
            raise
        finally:
            stop(process, signal.SIGINT)


def create_venv(packages: Iterable[str], folder: Path) -> Path:
    """Create a virtual environment with these packages and return its `bin` directory."""
    uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
    subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
    # Compile during installation, since the tests run programs with PYTHONDONTWRITEBYTECODE.
    words: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder]
    subprocess.run([*uv, *words, *packages], check=True)
    return folder / "bin"


def program(name: str, package: str) -> Path:
    """Return the path of an installed program, or skip the test."""
    places = [
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
        os.environ["PATH"],
        "/usr/sbin",
    ]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return Path(found)
    pytest.skip(f"{name} is not installed: apt-get install {package}")


def children(process: int) -> set[int]:
    """Return the running child processes of a process."""
    with suppress(FileNotFoundError):
        return {int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()}
    return set()


def descendants(process: int) -> list[int]:
    """Return all running descendants of a process."""
    own = children(process)
    return [*own, *(grandchild for child in own for grandchild in descendants(child))]


class Clock:
    """A fake system clock for programs, by libfaketime; it does not change how long they sleep."""

    def __init__(self, file: Path) -> None:
        """Find the library, or skip the test."""
        program("faketime", "faketime")
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self.file = file
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, timestamp: str) -> None:
        """Set the clock to an ISO 8601 timestamp."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{datetime.fromisoformat(timestamp).timestamp() - time.time():+.3f}")
        new.replace(self.file)


class Database(NamedTuple):
    """A database: its URL, and a function that runs SQL in it without the project."""

    url: str
    query: Callable[[str], str]


class Server(ABC):
    """A private server that has the same port, and its data if it stores any, after a restart."""

    package: ClassVar[str]
    account: ClassVar[str]  # the system user that the package creates
    scheme: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]  # closes all connections and ends the process

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose the ports and the user: if root runs the tests, the user of the package runs the server.

        `options` are command-line options of the server.
        """
        self.folder, self.options, self.port, self.tls_port = folder, options, free_port(), free_port()
        self.user = pwd.getpwnam(self.account) if os.geteuid() == 0 else None
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def copy_certificates(self) -> certificates.Certificates:
        """Copy a certificate for `localhost`, signed by the private CA, to the server's folder."""
        user = self.user or pwd.getpwuid(os.geteuid())
        return certificates.copy(self.folder, user.pw_uid, user.pw_gid)

    @property
    def url(self) -> str:
        """Return the URL in the form that a project's settings expect."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Return the TLS URL, for a server with a separate TLS port."""
        return self.url.replace(f"{self.scheme}://127.0.0.1:{self.port}", f"{self.scheme}s://localhost:{self.tls_port}")

    @abstractmethod
    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server accepts requests; may raise an `OSError` if it does not."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the server's programs."""
        return {"HOME": str(self.folder), "PATH": f"{os.environ['PATH']}:/usr/sbin", "LANG": "C.UTF-8"}

    @classmethod
    @contextmanager
    def running(cls, *options: str) -> Iterator[Self]:
        """Run the server within a `with` block."""
        # Not pytest's folder: the server's own user must be able to read it.
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
        """Start a program as the server's user."""
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
        """Return the server's log."""
        return (self.folder.parent / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        self.process = self.popen(*self.server_command())

        def is_ready() -> bool:
            with suppress(OSError):
                return self.is_ready()
            return False

        wait_until(is_ready, self.process)

    def stop(self) -> None:
        """Stop the server."""
        stop(self.process, self.stop_signal)

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """Stop the server within a `with` block and start it again afterwards."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill the server with SIGKILL, so that it cannot finish anything, and start it again after the block."""
        stop(self.process, signal.SIGKILL)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the server within a `with` block: it accepts connections but never responds."""
        os.kill(self.process.pid, signal.SIGSTOP)
        # PostgreSQL's backend processes have process groups of their own.
        processes = [self.process.pid, *descendants(self.process.pid)]
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextmanager
    def session(self) -> Iterator[BufferedRWPair]:
        """Open a connection; written data is sent on flush."""
        connection = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        with connection, connection.makefile("rwb") as file:
            yield file


class DatabaseServer(Server):
    """A database server."""

    default_database: ClassVar[str]  # a database that exists on every server
    sleep_query: ClassVar[str]
    connection_id_query: ClassVar[str]
    tls_options: ClassVar[tuple[str, ...]]  # options that enable TLS with a certificate and its key

    owner = "owner"
    password = "pass-of-the-owner"  # noqa: S105 - of a server that lives as long as the tests

    def __init__(self, folder: Path, *options: str) -> None:
        """Create the data directory."""
        super().__init__(folder, *options)
        self.numbers = count(1)
        (folder / "password").write_text(self.password)
        (folder / "grant.sql").write_text(
            f"GRANT ALL ON *.* TO '{self.owner}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
        )
        assert self.popen(*self.init_command()).wait(TIMEOUT) == 0, self.log()

    @abstractmethod
    def init_command(self) -> list[str | Path]:
        """Return the command that creates the data directory, with an owner who needs a password."""

    @abstractmethod
    def client_command(self, database: str) -> list[str | Path]:
        """Return the command that reads SQL and prints the results without decoration."""

    def is_ready(self) -> bool:
        """Return whether the server runs queries."""
        return self.run(self.default_database, "SELECT 1;").returncode == 0

    def database_url(self, database: str) -> str:
        """Return the URL of a database in the form that a project's settings expect."""
        return f"{self.scheme}://{self.owner}:{self.password}@127.0.0.1:{self.port}/{database}"

    @classmethod
    @contextmanager
    def running_with_tls(cls) -> Iterator[Self]:
        """Run a server with TLS within a `with` block."""
        with cls.running() as server:
            files = server.copy_certificates()
            server.options = tuple(option.format(**files._asdict()) for option in cls.tls_options)
            with server.unavailable():
                pass
            yield server

    def create_database(self) -> Database:
        """Create an empty database."""
        name = f"test_{next(self.numbers)}"
        self.query(self.default_database, f"CREATE DATABASE {name};")
        return Database(self.database_url(name), lambda statement: self.query(name, statement))

    def run(self, database: str, statements: str) -> subprocess.CompletedProcess[str]:
        """Run SQL and return the completed process, also when the SQL fails."""
        return subprocess.run(
            self.client_command(database),
            check=False,
            input=statements,
            text=True,
            capture_output=True,
            timeout=TIMEOUT,
        )

    def query(self, database: str, statements: str) -> str:
        """Run SQL and return its output."""
        result = self.run(database, statements)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    @contextmanager
    def transaction(self, database: str, statement: str) -> Iterator[None]:
        """Hold a transaction open within a `with` block, with the locks of a query that returns at least one row."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.client_command(database), stdin=pipe, stdout=pipe, text=True) as session:
            assert session.stdin
            assert session.stdout
            session.stdin.write(f"BEGIN; {statement};\n")
            session.stdin.flush()
            assert session.stdout.readline()
            yield


class PostgreSQL(DatabaseServer):
    """PostgreSQL with durability turned off."""

    package = "postgresql"
    account = "postgres"
    scheme = "postgresql"
    default_database = "postgres"
    stop_signal = signal.SIGINT
    sleep_query = "SELECT pg_sleep({})"
    connection_id_query = "SELECT pg_backend_pid()"
    tls_options = ("-cssl=on", "-cssl_cert_file={certificate}", "-cssl_key_file={key}")

    def init_command(self) -> list[str | Path]:
        """Return the command that creates the data directory, with an owner who needs a password."""
        secret = ["--auth=scram-sha-256", f"--username={self.owner}", f"--pwfile={self.folder}/password"]
        quick = ["--encoding=UTF8", "--no-locale", "--no-sync"]
        return [program("initdb", self.package), *secret, *quick, "-D", f"{self.folder}/data"]

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        quick = [f"-c{setting}=off" for setting in ("fsync", "full_page_writes", "synchronous_commit")]
        where = ["-D", f"{self.folder}/data", "-k", f"{self.folder}", "-h", "127.0.0.1", "-p", f"{self.port}"]
        return [program("postgres", self.package), *quick, *where, *self.options]

    def client_command(self, database: str) -> list[str | Path]:
        """Return the command that reads SQL and prints the results without decoration."""
        plain = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        return [program("psql", self.package), *plain, self.database_url(database)]


class MariaDB(DatabaseServer):
    """MariaDB with durability turned off."""

    package = "mariadb-server"
    account = "mysql"
    scheme = "mysql"
    default_database = "mysql"
    stop_signal = signal.SIGTERM
    sleep_query = "SELECT SLEEP({})"
    connection_id_query = "SELECT CONNECTION_ID()"
    tls_options = ("--ssl-cert={certificate}", "--ssl-key={key}")

    def init_command(self) -> list[str | Path]:
        """Return the command that creates the data directory; the owner is created when the server starts."""
        plain = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        where = [f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"]
        return [program("mariadb-install-db", self.package), *plain, *where]

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        quick = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--skip-name-resolve"]
        where = [f"--datadir={self.folder}/data", f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"]
        # A server that starts deletes the temporary tables of others in the same folder.
        where += [f"--tmpdir={self.folder}"]
        loopback = ["--bind-address=127.0.0.1", f"--port={self.port}"]
        text = ["--character-set-server=utf8mb4", f"--init-file={self.folder}/grant.sql"]
        return [program("mariadbd", self.package), "--no-defaults", *quick, *where, *loopback, *text, *self.options]

    def client_command(self, database: str) -> list[str | Path]:
        """Return the command that reads SQL and prints the results without decoration."""
        plain = ["--no-defaults", "--batch", "--unbuffered", "--skip-column-names"]
        where = ["--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}"]
        who = [f"--user={self.owner}", f"--password={self.password}"]
        return [program("mariadb", self.package), *plain, *where, *who, database]


class PgBouncer(Server):
    """PgBouncer in transaction mode: it gives the PostgreSQL connection to another client after each transaction."""

    package = "pgbouncer"
    account = "postgres"
    scheme = "postgresql"
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path, *options: str) -> None:
        """Write the configuration; the only option is the port of the PostgreSQL server."""
        super().__init__(folder)
        (folder / "users").write_text(f'"{PostgreSQL.owner}" "{PostgreSQL.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users",
            "pool_mode": "transaction",
            # Fewer connections than clients, so that consecutive transactions may run on different connections.
            "default_pool_size": 4,
        }
        lines = ["[databases]", f"* = host=127.0.0.1 port={options[0]}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines))

    def server_command(self) -> list[str | Path]:
        """Return the command that starts PgBouncer."""
        return [program("pgbouncer", self.package), self.folder / "pgbouncer.ini"]

    def is_ready(self) -> bool:
        """Return whether it accepts connections."""
        with self.session():
            return True


class Cache(Server):
    """A cache server, which loses its data when it is stopped: it is killed, as in a crash."""

    stop_signal = signal.SIGKILL

    @abstractmethod
    def keys(self) -> list[str]:
        """Return all keys of all clients."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the value of a key."""

    @abstractmethod
    def set(self, key: str, value: bytes) -> None:
        """Set the value of a key."""


class Redis(Cache):
    """Redis without persistence."""

    package = "redis-server"
    account = "redis"
    scheme = "redis"
    persistence: tuple[str, ...] = ("--appendonly", "no")

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        where = ["--bind", "127.0.0.1", "--port", f"{self.port}", "--dir", f"{self.folder}", "--save", ""]
        files = self.copy_certificates()
        tls: list[str | Path] = [
            "--tls-port",
            f"{self.tls_port}",
            "--tls-auth-clients",
            "no",
            "--tls-ca-cert-file",
            files.authority,
        ]
        tls += ["--tls-cert-file", files.certificate, "--tls-key-file", files.key]
        return [program("redis-server", self.package), *where, *tls, *self.persistence, *self.options]

    def is_ready(self) -> bool:
        """Return whether the server responds."""
        return self.command("PING") == [b"PONG"]

    def keys(self) -> list[str]:
        """Return all keys of all clients."""
        return sorted(key.decode() for key in self.command("KEYS", "*"))

    def get(self, key: str) -> bytes:
        """Return the value of a key."""
        return self.command("GET", key)[0]

    def set(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        self.command("SET", key, value)

    def command(self, *words: str | bytes) -> list[bytes]:
        """Send a command and return the reply as a list, even if it is a single value (RESP2)."""
        given = [word if isinstance(word, bytes) else word.encode() for word in words]
        with self.session() as session:
            session.write(b"*%d\r\n" % len(given))
            for word in given:
                session.write(b"$%d\r\n%s\r\n" % (len(word), word))
            session.flush()
            return self._read_reply(session)

    def _read_reply(self, session: BufferedRWPair) -> list[bytes]:
        """Read one reply."""
        line = session.readline()
        kind, rest = line[:1], line[1:-2]
        if not kind or kind not in b"+:$*":
            raise ConnectionError(line)
        if kind == b"*":
            return [part for _ in range(int(rest)) for part in self._read_reply(session)]
        return [session.read(int(rest) + 2)[:-2] if kind == b"$" else rest]


class Memcached(Cache):
    """Memcached."""

    package = "memcached"
    account = "memcache"
    scheme = "memcached"

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        where = ["-l", "127.0.0.1", "-p", f"{self.port}", "-U", "0"]
        return [program("memcached", self.package), *where, *self.options]

    def is_ready(self) -> bool:
        """Return whether the server responds."""
        return self.command(b"version")[0].startswith(b"VERSION")

    def keys(self) -> list[str]:
        """Return all keys of all clients; a single listing omits keys that are in use, so several are merged."""
        lines = [line for _ in range(9) for line in self.command(b"lru_crawler metadump hash", until=b"END")[:-1]]
        return sorted({urllib.parse.unquote(line.split()[0].decode()).removeprefix("key=") for line in lines})

    def get(self, key: str) -> bytes:
        """Return the value of a key."""
        with self.session() as session:
            session.write(f"get {key}\r\n".encode())
            session.flush()
            return session.read(int(session.readline().split()[-1]))

    def set(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        assert self.command(b"set %s 0 0 %d\r\n%s" % (key.encode(), len(value), value)) == [b"STORED"]

    def command(self, command: bytes, until: bytes = b"") -> list[bytes]:
        """Send a command and return the lines of the response: one, or all lines up to one that starts with `until`."""
        with self.session() as session:
            session.write(command + b"\r\n")
            session.flush()
            lines = [session.readline().strip()]
            while not lines[-1].startswith(until):
                lines.append(session.readline().strip())
            return lines


class Directory:
    """A cache directory that can become unavailable, like an unmounted disk, so that not even root can write to it."""

    def __init__(self, path: Path) -> None:
        """Create the directory behind a symbolic link that can be replaced atomically."""
        self.path, self.url = path, f"file://{path}"
        self.place = path.with_suffix(".place")
        self.place.mkdir()
        self._link_to(self.place)

    def _link_to(self, place: Path) -> None:
        """Point the path at another place."""
        link = self.path.with_suffix(".link")
        link.symlink_to(place)
        link.replace(self.path)

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """Make the path unavailable within a `with` block; afterwards it has its former contents."""
        self._link_to(Path(os.devnull))
        try:
            yield
        finally:
            self._link_to(self.place)

    def keys(self) -> list[str]:
        """Return the names of all files."""
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file())

    def get(self, key: str) -> bytes:
        """Return the contents of a file."""
        return (self.path / key).read_bytes()

    def set(self, key: str, value: bytes) -> None:
        """Overwrite a file and set its expiry (its mtime) in the future."""
        (self.path / key).write_bytes(value)
        ends = time.time() + TIMEOUT
        os.utime(self.path / key, (ends, ends))


class Broker(Server):
    """A message broker with persistent queues."""

    stop_signal = signal.SIGTERM

    @abstractmethod
    def clear(self) -> None:
        """Delete all jobs."""

    @abstractmethod
    def wrong_urls(self) -> list[str]:
        """Return URLs of this server with a wrong user or path, which it rejects."""


class RedisBroker(Broker, Redis):
    """Redis with an append-only file."""

    persistence = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")

    def clear(self) -> None:
        """Delete all jobs."""
        self.command("FLUSHALL")

    def wrong_urls(self) -> list[str]:
        """Return a URL with an unknown user and one with a missing database.

        Over RESP3 a Redis without a password accepts every user.
        """
        return [f"redis://user:pass@127.0.0.1:{self.port}/0", f"{self.url}/99"]


class RabbitMQ(Broker):
    """RabbitMQ with one node."""

    package = "rabbitmq-server"
    account = "rabbitmq"
    scheme = "amqp"

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose the ports of Erlang and write the configuration."""
        super().__init__(folder, *options)
        self.names, self.distribution = free_port(), free_port()
        files = self.copy_certificates()
        settings = {
            "log.console": "true",
            "listeners.ssl.default": self.tls_port,
            "ssl_options.cacertfile": files.authority,
            "ssl_options.certfile": files.certificate,
            "ssl_options.keyfile": files.key,
        }
        (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (folder / "enabled_plugins").write_text("[].")

    @property
    def url(self) -> str:
        """Return the URL with the default virtual host."""
        return f"{super().url}//"

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        found = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
        return [found or program("rabbitmq-server", self.package), *self.options]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that separate this node from any other one."""
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

    def wrong_urls(self) -> list[str]:
        """Return a URL with an unknown user and one with a missing virtual host."""
        return [f"amqp://user:pass@127.0.0.1:{self.port}//", f"amqp://127.0.0.1:{self.port}/nowhere"]

    def is_ready(self) -> bool:
        """Return whether the server speaks AMQP."""
        with self.session() as session:
            session.write(b"AMQP\x00\x00\x09\x01")
            session.flush()
            return session.read(1) == b"\x01"

    def stop(self) -> None:
        """Stop the server and epmd, which runs as a separate daemon."""
        super().stop()
        epmd: list[str | Path] = [program("epmd", "erlang-base"), "-port", str(self.names), "-kill"]
        subprocess.run(epmd, check=False, env=self.environment(), capture_output=True)

    def clear(self) -> None:
        """Delete all jobs by deleting the data and restarting."""
        self.stop()
        shutil.rmtree(self.folder / "data")
        self.start()
