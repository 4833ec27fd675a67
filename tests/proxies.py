"""nginx and Apache as a project configures them: private instances, and clients that say what they like."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

from tests.services import PATIENCE, free_port, program, stop, wait_until

HOST = "example.com"


class Reply(NamedTuple):
    """What a proxy said: the header's names in small letters, the body as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def ask(port: int, path: str, *, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Reply:
    """Ask on a connection of its own; underscores of header names are hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        return say(connection, path, method=method, body=body, **headers)
    finally:
        connection.close()


def say(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: bytes | str | None = None,
    **headers: str,
) -> Reply:
    """Ask on a connection that is kept."""
    names = {name.replace("_", "-"): value for name, value in {"Host": HOST, **headers}.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    said: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        said[key] = f"{said[key]}, {value}" if key in said else value
    return Reply(response.status, said, response.read())


def send(port: int, data: bytes, *, within: float = PATIENCE, until: bytes | None = None) -> bytes:
    """Send bytes as they are, and take all that comes until the other side ends, or some bytes are there."""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as connection:
        connection.sendall(data)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
                if until and until in b"".join(parts):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return b"".join(parts)


def statuses(answers: bytes) -> list[int]:
    """The statuses of all answers that came on a connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


class Proxy(ABC):
    """A proxy with the configuration of a project."""

    name: ClassVar[str]
    variable: ClassVar[str]  # how its configuration calls the address of the application

    def __init__(self, project: Path, folder: Path, application: str, **variables: str) -> None:
        """Install the configuration, as an image would."""
        self.folder, self.conf = folder, folder / "conf"
        self.http, self.https = free_port(), free_port()
        self.public, self.closed = folder / "public", folder / "closed"
        shutil.copytree(project / "deploy" / self.name, self.conf)
        for made in ("acme", "public", "run"):
            (folder / made).mkdir(exist_ok=True)
            (folder / made).chmod(0o777)
        lines = (self.conf / f"{self.name}.env").read_text(encoding="utf-8").splitlines()
        self.variables = {
            **dict(line.split("=", 1) for line in lines if line and not line.startswith("#")),
            "HTTP_PORT": str(self.http),
            "HTTPS_PORT": str(self.https),
            "APPLICATION": self.address(application),
            "STATIC_ROOT": str(self.public),
            "MAINTENANCE_FILE": str(self.closed),
            "ACME_ROOT": str(folder / "acme"),
            **self.own(),
            **variables,
        }
        self.certify()
        self.install()

    @abstractmethod
    def address(self, bind: str) -> str:
        """The address of an application server, as its configuration wants it."""

    @abstractmethod
    def own(self) -> dict[str, str]:
        """Variables that only this one has."""

    @abstractmethod
    def install(self) -> None:
        """What is left to do after the files are in their place."""

    @abstractmethod
    def command(self, *words: str) -> list[str | Path]:
        """The command that runs it."""

    @property
    def env(self) -> dict[str, str]:
        """Its environment."""
        return {"PATH": os.environ["PATH"], **self.variables}

    def certify(self) -> None:
        """Make a certificate."""
        (self.conf / "tls").mkdir()
        command: list[str | Path] = [program("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        where = ["-keyout", f"{self.conf}/tls/privkey.pem", "-out", f"{self.conf}/tls/fullchain.pem"]
        who = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        subprocess.run([*command, *kind, *where, *who], check=True, capture_output=True)

    def check(self) -> str:
        """Let the program read its configuration; what it says of it."""
        result = subprocess.run(
            self.command("-t"), check=False, env=self.env, capture_output=True, text=True, timeout=PATIENCE
        )
        assert result.returncode == 0, result.stderr
        return result.stderr

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Serve for as long as the block takes."""
        with (self.folder / "access.log").open("ab") as out, (self.folder / "error.log").open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(), env=self.env, stdout=out, stderr=errors, cwd="/", start_new_session=True
            )
        try:
            wait_until(self.listens, self.process)
            yield self.process
        finally:
            stop(self.process, signal.SIGTERM)

    def listens(self) -> bool:
        """Tell whether somebody answers."""
        try:
            socket.create_connection(("127.0.0.1", self.http), timeout=1).close()
        except OSError:
            return False
        return True

    def logged(self) -> list[dict[str, object]]:
        """The access log, of which each line is JSON."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text(encoding="utf-8").splitlines()]

    def errors(self) -> str:
        """What it complained of."""
        return (self.folder / "error.log").read_text(encoding="utf-8", errors="replace")


class Nginx(Proxy):
    """nginx; its image fills the templates, and this does as the image does."""

    name = "nginx"

    def address(self, bind: str) -> str:
        """The address of an application server."""
        return bind

    def own(self) -> dict[str, str]:
        """Variables that only this one has."""
        return {
            "SERVER_NAMES": HOST,
            "ANSWERS_ROOT": f"{self.folder}/answers",
            "RESOLVERS": "127.0.0.1",
            "REQUESTS_PER_SECOND": "100000",
            "REQUESTS_AT_ONCE": "100000",
            "CONNECTIONS": "1000",
        }

    def install(self) -> None:
        """Fill the templates; what nginx writes stays in the private folder."""
        shutil.copy2("/etc/nginx/mime.types", self.conf)
        (self.conf / "conf.d").mkdir()
        for template in (self.conf / "templates").glob("*.template"):
            text = re.sub(
                r"\$\{(\w+)\}",
                lambda found: self.variables.get(found[1], found[0]),
                template.read_text(encoding="utf-8"),
            )
            (self.conf / "conf.d" / template.stem).write_text(text, encoding="utf-8")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        private = "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        with (self.conf / "conf.d" / "application.conf").open("a") as file:
            file.write(private)
        self.say_http2_as_it_knows()

    def say_http2_as_it_knows(self) -> None:
        """Do what http2.conf tells those to do whose nginx is too old for it, such as Debian 12's."""
        said = subprocess.run([program("nginx", "nginx"), "-v"], check=True, capture_output=True, text=True).stderr
        found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
        assert found
        if tuple(map(int, found.groups())) < (1, 25, 1):
            (self.conf / "http2.conf").write_text("")
            site = self.conf / "conf.d" / "tls.site"
            site.write_text(re.sub(r"(listen .* ssl)", r"\1 http2", site.read_text(encoding="utf-8")))

    def command(self, *words: str) -> list[str | Path]:
        """The command that runs it."""
        where = ["-p", f"{self.folder}", "-c", f"{self.conf}/nginx.conf"]
        return [program("nginx", "nginx"), *where, "-g", f"daemon off; pid {self.folder}/run/nginx.pid;", *words]


class Apache(Proxy):
    """Apache, which reads its variables itself."""

    name = "apache"

    def address(self, bind: str) -> str:
        """The address of an application server."""
        return f"{bind}|http://application" if bind.startswith("unix:") else f"http://{bind}"

    def own(self) -> dict[str, str]:
        """Variables that only this one has."""
        return {"SERVER_NAME": HOST, "RUN_ROOT": f"{self.folder}/run"}

    def install(self) -> None:
        """Lay out the folder as that of the image."""
        shutil.copy2("/etc/mime.types", self.conf)
        (self.folder / "modules").symlink_to("/usr/lib/apache2/modules")

    def command(self, *words: str) -> list[str | Path]:
        """The command that runs it."""
        where = ["-d", f"{self.folder}", "-f", "conf/httpd.conf"]
        return [program("apache2", "apache2"), *where, *(words or ["-DFOREGROUND"])]


PROXIES: Mapping[str, type[Proxy]] = {"nginx": Nginx, "apache": Apache}


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that the proxy's own user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="proxy-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's TLS that knows the proxy's certificate."""
    return ssl.create_default_context(cafile=certificate)
