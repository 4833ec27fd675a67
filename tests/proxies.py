"""nginx and Apache with a project's configuration: private instances, and HTTP clients."""

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

from tests.services import TIMEOUT, free_port, program, stop, wait_until

HOST = "example.com"


class ProxyResponse(NamedTuple):
    """A response of a proxy, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()


def send_request(
    port: int, path: str, *, method: str = "GET", body: bytes | str | None = None, **headers: str
) -> ProxyResponse:
    """Send a request on a new connection; underscores in header names become hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        return send_on(connection, path, method=method, body=body, **headers)
    finally:
        connection.close()


def send_on(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: bytes | str | None = None,
    **headers: str,
) -> ProxyResponse:
    """Send a request on an open connection."""
    names = {name.replace("_", "-"): value for name, value in {"Host": HOST, **headers}.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    received: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        received[key] = f"{received[key]}, {value}" if key in received else value
    return ProxyResponse(response.status, received, response.read())


def send_raw(port: int, data: bytes, *, timeout: float = TIMEOUT, until: bytes | None = None) -> bytes:
    """Send raw bytes and return what the other side sends until it closes the connection or `until` appears."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
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
    """Return the statuses of all responses on a connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


class Proxy(ABC):
    """A proxy with the configuration of a project."""

    name: ClassVar[str]

    def __init__(self, project: Path, folder: Path, application: str, **variables: str) -> None:
        """Install the configuration like the image does."""
        self.folder, self.conf = folder, folder / "conf"
        self.http, self.https, self.status = free_port(), free_port(), free_port()
        self.public, self.closed = folder / "public", folder / "closed"
        shutil.copytree(project / "deploy" / self.name, self.conf)
        for name in ("acme", "public", "run"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(0o777)
        lines = (self.conf / f"{self.name}.env").read_text(encoding="utf-8").splitlines()
        self.variables = {
            **dict(line.split("=", 1) for line in lines if line and not line.startswith("#")),
            "HTTP_PORT": str(self.http),
            "HTTPS_PORT": str(self.https),
            "UPSTREAM": self.address(application),
            "STATIC_ROOT": str(self.public),
            "MAINTENANCE_FILE": str(self.closed),
            "ACME_ROOT": str(folder / "acme"),
            **self.settings(),
            **variables,
        }
        self.create_certificate()
        self.install()

    @abstractmethod
    def address(self, bind: str) -> str:
        """Return the address of the application server in the syntax of the configuration."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return the settings that only this proxy has."""

    @abstractmethod
    def install(self) -> None:
        """Finish the installation after the files are copied."""

    @abstractmethod
    def command(self, *words: str) -> list[str | Path]:
        """Return the command that runs the proxy."""

    @property
    def env(self) -> dict[str, str]:
        """Return the environment variables of the proxy."""
        return {"PATH": os.environ["PATH"], **self.variables}

    def create_certificate(self) -> None:
        """Create a self-signed certificate."""
        (self.conf / "tls").mkdir()
        command: list[str | Path] = [program("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        options = ["-keyout", f"{self.conf}/tls/privkey.pem", "-out", f"{self.conf}/tls/fullchain.pem"]
        subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        subprocess.run([*command, *kind, *options, *subject], check=True, capture_output=True)

    def check(self) -> str:
        """Run the proxy's configuration check and return its warnings."""
        result = subprocess.run(
            self.command("-t"), check=False, env=self.env, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert result.returncode == 0, result.stderr
        return result.stderr

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the proxy within a `with` block."""
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
        """Return whether the port accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.http), timeout=1).close()
        except OSError:
            return False
        return True

    def access_log(self) -> list[dict[str, object]]:
        """Return the access log, which has one JSON object per line."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text(encoding="utf-8").splitlines()]

    def error_log(self) -> str:
        """Return the error log."""
        return (self.folder / "error.log").read_text(encoding="utf-8", errors="replace")


class Nginx(Proxy):
    """nginx; its image renders the configuration templates, and so does this class."""

    name = "nginx"

    def address(self, bind: str) -> str:
        """Return the address of the application server."""
        return bind

    def settings(self) -> dict[str, str]:
        """Return the settings that only nginx has."""
        return {
            "SERVER_NAMES": HOST,
            "CACHE_PATH": f"{self.folder}/responses",
            "RESOLVERS": "127.0.0.1",
            "REQUESTS_PER_SECOND": "100000",
            "RATE_LIMIT_BURST": "100000",
            "CONNECTIONS": "1000",
            "STATUS_PORT": str(self.status),
        }

    def install(self) -> None:
        """Render the templates; the files that nginx writes stay in the private folder."""
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
        self._use_old_http2_syntax()

    def _use_old_http2_syntax(self) -> None:
        """Apply the change that http2.conf describes for nginx before 1.25.1, such as that of Debian 12."""
        version = subprocess.run([program("nginx", "nginx"), "-v"], check=True, capture_output=True, text=True).stderr
        found = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
        assert found
        if tuple(map(int, found.groups())) < (1, 25, 1):
            (self.conf / "http2.conf").write_text("")
            site = self.conf / "conf.d" / "https.site"
            site.write_text(re.sub(r"(listen .* ssl)", r"\1 http2", site.read_text(encoding="utf-8")))

    def command(self, *words: str) -> list[str | Path]:
        """Return the command that runs nginx."""
        options = ["-p", f"{self.folder}", "-c", f"{self.conf}/nginx.conf"]
        return [program("nginx", "nginx"), *options, "-g", f"daemon off; pid {self.folder}/run/nginx.pid;", *words]


class Apache(Proxy):
    """Apache, which expands environment variables itself."""

    name = "apache"

    def address(self, bind: str) -> str:
        """Return the address of the application server."""
        return f"{bind}|http://application" if bind.startswith("unix:") else f"http://{bind}"

    def settings(self) -> dict[str, str]:
        """Return the settings that only Apache has."""
        return {"SERVER_NAME": HOST, "RUN_ROOT": f"{self.folder}/run", "STATUS_PORT": f"127.0.0.1:{self.status}"}

    def install(self) -> None:
        """Create the directory layout of the image."""
        shutil.copy2("/etc/mime.types", self.conf)
        (self.folder / "modules").symlink_to("/usr/lib/apache2/modules")

    def command(self, *words: str) -> list[str | Path]:
        """Return the command that runs Apache."""
        options = ["-d", f"{self.folder}", "-f", "conf/httpd.conf"]
        return [program("apache2", "apache2"), *options, *(words or ["-DFOREGROUND"])]


PROXIES: Mapping[str, type[Proxy]] = {"nginx": Nginx, "apache": Apache}


@contextmanager
def private_folder() -> Iterator[Path]:
    """Create a folder that the proxy's own user can read, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="proxy-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def tls_context(certificate: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts the proxy's certificate."""
    return ssl.create_default_context(cafile=certificate)
