"""The build: small files, under names that change with what is in them, compressed beforehand.

What is there from earlier builds stays, for clients that have pages of an earlier release.
"""

import gzip
import posixpath
import re
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import brotli
import msgspec
import zstandard
from flask import Flask
from rcssmin import cssmin
from rjsmin import jsmin

from . import names

TEXTS = {".css", ".html", ".ico", ".js", ".json", ".map", ".mjs", ".svg", ".ttf", ".txt", ".xml"}
# A variant is there when it saves a tenth of a file that is more than a packet.
SMALLEST = 1024
SAVED = 0.9
# Above this many bytes the last percent would take seconds.
LARGE = 256 * 1024

REFERENCE = re.compile(r"""(url\(\s*["']?|@import\s+["'])([^"')\s?#]+)""")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|/", re.IGNORECASE)


class BuildError(ValueError):
    """Says which file is wrong."""


def build_all(app: Flask, root: Path) -> int:
    """Build each folder of the application; return how many files they have."""
    built: names.Names = {}
    for source in names.find_sources(app):
        folder = Folder(source.folder, root / source.address)
        for path in sorted(source.folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                folder.add(path.relative_to(source.folder).as_posix())
        built[source.endpoint] = folder.names
    write(root / names.MANIFEST, msgspec.json.encode(built))
    return sum(map(len, built.values()))


class Folder:
    """A folder that is being built."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source = source
        self.target = target
        self.names: dict[str, str] = {}
        self.open: list[str] = []

    def add(self, filename: str) -> str:
        """Build a file, and before it what it refers to; return its new name."""
        if filename not in self.names:
            if names.is_built(filename):
                raise BuildError(f"{filename} is named as if it had been built")
            if filename in self.open:
                raise BuildError(f"{filename} imports itself")
            self.open.append(filename)
            data = self.read(filename)
            self.open.pop()
            path = PurePosixPath(filename)
            digest = blake2b(data, digest_size=6).hexdigest()
            self.names[filename] = str(path.with_name(f"{path.stem}.{digest}{path.suffix}"))
            self.write(filename, self.names[filename], data)
        return self.names[filename]

    def read(self, filename: str) -> bytes:
        """Read a file, and make it as small as it can be without a change of what it means."""
        data = (self.source / filename).read_bytes()
        suffix = PurePosixPath(filename).suffix
        if suffix == ".css":
            small = str(cssmin(data.decode()))
            return REFERENCE.sub(lambda found: self.refer(filename, found), small).encode()
        # What has long lines was minified by those who made it.
        if suffix in {".js", ".mjs"} and data.count(b"\n") * 200 > len(data):
            return str(jsmin(data.decode())).encode()
        return data

    def refer(self, filename: str, found: re.Match[str]) -> str:
        """Rename what a style sheet refers to; addresses of other places stay."""
        start, address = found.groups()
        if ELSEWHERE.match(address):
            return found[0]
        folder = posixpath.dirname(filename)
        target = posixpath.normpath(posixpath.join(folder, address))
        if not (self.source / target).is_file():
            raise BuildError(f"{filename} refers to {address}, which is not there")
        return start + posixpath.join(
            posixpath.dirname(address), posixpath.basename(self.add(target))
        )

    def write(self, filename: str, new_name: str, data: bytes) -> None:
        """Write a file under its plain name, and under its new one with its variants before it."""
        write(self.target / filename, data)
        new = self.target / new_name
        if not new.exists():
            for ending, variant in compress(new.suffix, data).items():
                write(new.with_name(new.name + ending), variant)
            write(new, data)


def compress(suffix: str, data: bytes) -> dict[str, bytes]:
    """Make the variants of a file that are worth it."""
    if suffix not in TEXTS or len(data) < SMALLEST:
        return {}
    is_large = len(data) > LARGE
    variants = {
        ".br": brotli.compress(data, quality=9 if is_large else 11),
        ".gz": gzip.compress(data, 9, mtime=0),
        ".zst": zstandard.compress(data, 12 if is_large else 19),
    }
    return {
        ending: variant for ending, variant in variants.items() if len(variant) < len(data) * SAVED
    }


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
