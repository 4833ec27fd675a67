"""A DNS server that never responds, for programs in their own network and mount namespaces."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

UP = 1  # IFF_UP
SIOCSIFFLAGS = 0x8914


def silent_name_server(folder: Path, search: str = "") -> tuple[str, ...]:
    """Return a command prefix that runs a program whose only DNS server never responds, or skip the test."""
    unshare = shutil.which("unshare")
    namespaces = (unshare or "unshare", "--map-root-user", "--mount", "--net")
    if not unshare or subprocess.run([*namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine forbids namespaces")
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver 127.0.0.1\n{search}", encoding="utf-8")
    return (*namespaces, sys.executable, "-I", __file__, str(resolver))


def main(resolver: str, *command: str) -> None:
    """Bind port 53 and read nothing; then execute a command, which inherits the socket."""
    subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP))
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 53))
    silent.set_inheritable(True)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
