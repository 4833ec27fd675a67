"""Run a command with a fake MongoDB, unless DATABASE_URL names a server or one runs here.

    python scripts/fake_mongodb.py flask run

nx-27017 speaks the protocol of MongoDB and stores documents in an SQLite file. It has neither
transactions of replica sets nor logins, and few queries use indexes: see docs/database.md.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from dotenv import dotenv_values

PORT = 27017
FILE = "development.mongodb"
MAX_START_SECONDS = 30
# nx-27017 0.8.1 may miss the signal to end.
MAX_STOP_SECONDS = 5


@contextmanager
def fake_server(file: str, port: int = 0) -> Iterator[str]:
    """Run the fake server, and yield its URL. The file `memory` is none."""
    port = port or free_port()
    with tempfile.TemporaryDirectory() as folder:
        # Its default is one file for all.
        options = ["--db", file, "--port", str(port), "--pid-file", f"{folder}/pid"]
        command = [sys.executable, "-c", "from nx_27017 import main; main()", *options]
        # Its log is of no use: errors reach the client.
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until_listening(process, port)
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(MAX_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the fake server accepts connections, or end this process."""
    deadline = time.monotonic() + MAX_START_SECONDS
    while not is_listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("Error: the fake MongoDB does not start: make up-dev has a server")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    """Return whether a server accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that no server uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(command: list[str]) -> int:
    """Run a command, and return its exit status."""
    has_server = os.environ.get("DATABASE_URL") or dotenv_values(".env").get("DATABASE_URL")
    is_running = has_server or is_listening(PORT)
    with nullcontext() if is_running else fake_server(FILE, PORT):
        try:
            return subprocess.run(command, check=False).returncode  # noqa: S603
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
