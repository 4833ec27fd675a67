"""A Debian server for tests: a container in which systemd is the first process."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.containers import Engine, create_root
from tests.services import free_port, program, wait_until

# systemd needs these to isolate services, and a real server has them.
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE")
SSH = """#!/bin/sh
exec {ssh} -i {folder}/key -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes "$@"
"""


class Machine:
    """A server that is reached by SSH."""

    def __init__(self, engine: Engine, folder: Path, root: Path) -> None:
        """Boot the server."""
        self.engine, self.folder = engine, folder
        options = [f"--cap-add={capability}" for capability in CAPABILITIES]
        # Packages are downloaded once.
        packages = root.parent / "apt"
        packages.mkdir(exist_ok=True)
        self.name = engine.podman(
            *("run", "--detach", "--systemd=always", "--network=machines", "--security-opt=seccomp=unconfined"),
            *(*options, "--tmpfs=/tmp", f"--volume={packages}:/var/cache/apt/archives", "--stop-timeout=60"),
            *("--rootfs", folder / "root", "/sbin/init"),
        )
        self.wait()
        (self.address,) = self.run("hostname -I").split()
        self._prepare_ssh()

    def wait(self) -> None:
        """Wait until all units have started, or failed."""
        wait_until(lambda: self.try_run("systemctl is-system-running").stdout.strip() in ("running", "degraded"))

    def reboot(self) -> None:
        """Stop and start the server."""
        self.engine.podman("restart", self.name)
        self.wait()

    def try_run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root, whether it succeeds or not."""
        return self.engine.try_podman("exec", self.name, "sh", "-eu", "-c", f"cd ~; {script}")

    def run(self, script: str) -> str:
        """Run a shell script as root that must succeed, and return its output."""
        result = self.try_run(script)
        assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
        return result.stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file in the home directory of root that only root can read."""
        self.run(f"install -D --mode=600 /dev/stdin {path} << 'end of file'\n{text}end of file")

    def _prepare_ssh(self) -> None:
        """Create a key, and a program `ssh` that uses it and accepts only the key of this server."""
        key = self.folder / "key"
        subprocess.run([program("ssh-keygen", "openssh-client"), "-qt", "ed25519", "-N", "", "-f", key], check=True)
        self.public_key = key.with_suffix(".pub").read_text(encoding="utf-8")
        self.write(".ssh/authorized_keys", self.public_key)
        host_key = self.run("cat /etc/ssh/ssh_host_ed25519_key.pub")
        (self.folder / "known_hosts").write_text(f"{self.address} {host_key}\n", encoding="utf-8")
        command = self.folder / "bin" / "ssh"
        command.parent.mkdir()
        command.write_text(SSH.format(ssh=program("ssh", "openssh-client"), folder=self.folder), encoding="utf-8")
        command.chmod(0o755)

    def make(self, project: Path, target: str, user: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a target of the project's Makefile for this server, whether it succeeds or not."""
        words = ["make", "--no-print-directory", target, f"HOST={user}@{self.address}"]
        env = {**os.environ, "PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}", **variables}
        return subprocess.run(words, check=False, cwd=project, env=env, capture_output=True, text=True, timeout=600)


def host_environment() -> Mapping[str, str]:
    """Return the variables of this machine that installers of Python packages need."""
    names = re.compile(r"(PIP|UV)_(?!PYTHON|PROJECT)\w*(INDEX|LINKS|TIMEOUT)\w*|(HTTPS?|NO)_PROXY", re.IGNORECASE)
    certificates = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt")
    return {**{name: value for name, value in os.environ.items() if names.fullmatch(name)}, **certificates}


@contextmanager
def booted_machine(cache: Path) -> Iterator[Machine]:
    """Provide a server within a `with` block."""
    with tempfile.TemporaryDirectory(prefix="box-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "engine").mkdir()
        engine = Engine(folder / "engine")
        try:
            engine.probe()
            root = create_root(cache, "machine")
            (folder / "root").mkdir()
            subprocess.run(["tar", "-xf", root, "-C", folder / "root"], check=True)
            certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
            shutil.copy2(certificates, folder / "root/etc/ssl/certs/ca-certificates.crt")
            environment = "".join(f"{name}={value}\n" for name, value in host_environment().items())
            (folder / "root/etc/environment").write_text(environment, encoding="utf-8")
            # Each engine on this machine has its own network, and a bridge of its own: see containers.Project.
            number = free_port() % 256
            network = [f"--subnet=198.19.{number}.0/24", f"--interface-name=machines{number}", "machines"]
            engine.podman("network", "create", *network)
            yield Machine(engine, folder, root)
        finally:
            engine.clean()
