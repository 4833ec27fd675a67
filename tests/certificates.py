"""Private certificate authorities (CA), and certificates for `localhost` that they sign."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Certificates(NamedTuple):
    """Files in PEM format: the CA certificate, and a server's certificate and key."""

    authority: Path
    certificate: Path
    key: Path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="certificates-")


@cache
def create(name: str = "private") -> Certificates:
    """Create a CA and a certificate for `localhost`, once per process and name."""
    folder = Path(_folder().name)
    folder.chmod(0o755)
    files = Certificates(*(folder / f"{name}-{kind}.pem" for kind in ("authority", "server", "server-key")))
    own_key = folder / f"{name}-authority-key.pem"
    openssl = [shutil.which("openssl") or "openssl", "req", "-x509", *KEY]
    issuer: list[str | Path] = ["-subj", f"/CN=The {name} authority", "-keyout", own_key, "-out", files.authority]
    who: list[str | Path] = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    who += ["-addext", "basicConstraints=critical,CA:FALSE"]
    signed = [*who, "-CA", files.authority, "-CAkey", own_key, "-keyout", files.key, "-out", files.certificate]
    for words in (issuer, signed):
        subprocess.run([*openssl, *words], check=True, capture_output=True)
    return files


def copy(folder: Path, owner: int, group: int) -> Certificates:
    """Copy the files to a folder, readable by the server's user only."""
    files = Certificates(*(Path(shutil.copy(path, folder)) for path in create()))
    for path in files:
        os.chown(path, owner, group)
        path.chmod(0o600)
    return files
