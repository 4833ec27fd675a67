"""A server that deployments reach over SSH, and a registry of images: both run on this machine."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from urllib.request import urlopen

from tests.services import TIMEOUT, fetch, free_port, program, stop, wait_until

REGISTRY = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv {variables}
"""
SSH = """
Host server
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {folder}/user_key
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
"""


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry within a `with` block, and provide its host and port."""
    port = free_port()
    folder.mkdir()
    (folder / "registry.yml").write_text(REGISTRY.format(folder=folder / "data", port=port))
    command: list[str | Path] = [program("docker-registry", "docker-registry"), "serve", folder / "registry.yml"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: is_available(f"http://127.0.0.1:{port}/v2/"), process)
            yield f"127.0.0.1:{port}"
        finally:
            stop(process, SIGTERM)


def is_available(url: str) -> bool:
    """Return whether a server responds."""
    try:
        return fetch(url).status == 200
    except OSError:
        return False


@contextmanager
def ssh_server(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """Run sshd within a `with` block; sessions have these variables. Provide an ssh command that knows `server`."""
    port = free_port()
    folder.mkdir()
    for name in ("host_key", "user_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    texts = {"port": port, "folder": folder, "user": os.environ.get("USER", "root")}
    assignments = " ".join(f'"{name}={value}"' for name, value in variables.items())
    (folder / "sshd.conf").write_text(SSHD.format(**texts, variables=assignments))
    (folder / "ssh.conf").write_text(SSH.format(**texts))
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's folder for the separation of privileges
    command: list[str | Path] = [program("sshd", "openssh-server"), "-D", "-e", "-f", folder / "sshd.conf"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, start_new_session=True)
        try:
            ssh = f"ssh -F {folder}/ssh.conf"
            wait_until(lambda: subprocess.run([*ssh.split(), "server", "true"], check=False).returncode == 0, process)
            yield ssh
        finally:
            stop(process, SIGTERM)


@contextmanager
def acme_server(folder: Path, host: str, http_port: int) -> Iterator[str]:
    """Run Pebble within a `with` block; it takes all domains for this machine. Provide the URL of its directory.

    `host` is the address under which clients reach it, and that of its certificate in `certificate.pem`. `root.pem` is
    the root of the certificates that it issues.
    """
    port, management, dns = free_port(), free_port(), free_port()
    folder.mkdir()
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pebble"]
    names = ["-addext", f"subjectAltName=IP:{host},IP:127.0.0.1"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"]
    subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
    settings = {
        "listenAddress": f"0.0.0.0:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "certificate.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    off = [f"-{name}=" for name in ("http01", "https01", "tlsalpn01")]
    addresses = [
        "-defaultIPv4=127.0.0.1",
        "-defaultIPv6=",
        f"-dns01=127.0.0.1:{dns}",
        f"-management=127.0.0.1:{free_port()}",
    ]
    pebble: list[str | Path] = [
        program("pebble", "pebble"),
        "-config",
        folder / "pebble.json",
        "-dnsserver",
        f"127.0.0.1:{dns}",
    ]
    name_server: list[str | Path] = [program("pebble-challtestsrv", "pebble"), *off, *addresses]
    env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen(command, cwd="/", env=env, stdout=log, stderr=log, start_new_session=True)
            for command in (name_server, pebble)
        ]
        try:
            wait_until(lambda: b"Listening on" in (folder / "log").read_bytes(), processes[1])
            context = ssl.create_default_context(cafile=folder / "certificate.pem")
            with urlopen(f"https://127.0.0.1:{management}/roots/0", context=context, timeout=TIMEOUT) as response:
                (folder / "root.pem").write_bytes(response.read())
            yield f"https://{host}:{port}/dir"
        finally:
            for process in processes:
                stop(process, SIGTERM)
