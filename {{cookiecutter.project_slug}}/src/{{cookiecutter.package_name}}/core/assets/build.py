"""The build of static files: minified, with a content hash in the name, and compressed.

Files of earlier builds stay, for clients with pages of an earlier release.
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

from . import manifest

COMPRESSIBLE = re.compile(r"\.(css|html|ico|js|json|map|mjs|svg|ttf|txt|xml)")
# Files of fewer bytes fit into one packet anyway.
MIN_SIZE = 1024
# A variant must save a tenth of the file.
MAX_RATIO = 0.9
# Above this size, in bytes, the best compression would take seconds for one more percent.
SLOW_COMPRESSION_LIMIT = 256 * 1024

REFERENCE = re.compile(r"""(url\(\s*["']?|@import\s+["'])([^"')\s?#]+)""")
EXTERNAL_URL = re.compile(r"[a-z][a-z0-9+.-]*:|/", re.IGNORECASE)


class BuildError(ValueError):
    """A file that cannot be built; the message has its name."""


def build_all(app: Flask, root: Path) -> int:
    """Build all static folders of the application; return the number of files."""
    built: manifest.Names = {}
    for source in manifest.iter_static_folders(app):
        builder = FolderBuilder(source.folder, root / source.url_path)
        for path in sorted(source.folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                builder.add(path.relative_to(source.folder).as_posix())
        built[source.endpoint] = builder.names
    write(root / manifest.MANIFEST, msgspec.json.encode(built))
    return sum(map(len, built.values()))


class FolderBuilder:
    """The build of one folder; `names` maps source names to built names."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source = source
        self.target = target
        self.names: dict[str, str] = {}
        self.in_progress: list[str] = []

    def add(self, filename: str) -> str:
        """Build a file after the files that it refers to; return its built name."""
        if filename not in self.names:
            if manifest.has_hash(filename):
                raise BuildError(f"{filename} has the name of a built file")
            if filename in self.in_progress:
                raise BuildError(f"{filename} imports itself")
            self.in_progress.append(filename)
            data = self.minify(filename)
            self.in_progress.pop()
            path = PurePosixPath(filename)
            digest = blake2b(data, digest_size=6).hexdigest()
            self.names[filename] = str(path.with_name(f"{path.stem}.{digest}{path.suffix}"))
            self.write(filename, self.names[filename], data)
        return self.names[filename]

    def minify(self, filename: str) -> bytes:
        """Return the content of a file; style sheets and scripts are minified."""
        data = (self.source / filename).read_bytes()
        suffix = PurePosixPath(filename).suffix
        if suffix == ".css":
            css = str(cssmin(data.decode()))
            return REFERENCE.sub(
                lambda match: self.rewrite_reference(filename, match), css
            ).encode()
        # A script with very long lines is minified already.
        if suffix in {".js", ".mjs"} and data.count(b"\n") * 200 > len(data):
            return str(jsmin(data.decode())).encode()
        return data

    def rewrite_reference(self, filename: str, match: re.Match[str]) -> str:
        """Replace the path in a style sheet's reference by the built one, unless it is external."""
        start, reference = match.groups()
        if EXTERNAL_URL.match(reference):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(filename), reference))
        if not (self.source / target).is_file():
            raise BuildError(f"{filename} refers to {reference}, which is missing")
        name = posixpath.basename(self.add(target))
        return start + posixpath.join(posixpath.dirname(reference), name)

    def write(self, filename: str, built_name: str, data: bytes) -> None:
        """Write a file under both names; the variants come before the file that they belong to."""
        write(self.target / filename, data)
        built = self.target / built_name
        if not built.exists():
            for extension, variant in compress(built.suffix, data).items():
                write(built.with_name(built.name + extension), variant)
            write(built, data)


def compress(suffix: str, data: bytes) -> dict[str, bytes]:
    """Return the compressed variants that save enough, by their extension."""
    if not COMPRESSIBLE.fullmatch(suffix) or len(data) < MIN_SIZE:
        return {}
    is_large = len(data) > SLOW_COMPRESSION_LIMIT
    variants = {
        ".br": brotli.compress(data, quality=9 if is_large else 11),
        ".gz": gzip.compress(data, 9, mtime=0),
        ".zst": zstandard.compress(data, 12 if is_large else 19),
    }
    maximum = len(data) * MAX_RATIO
    return {extension: variant for extension, variant in variants.items() if len(variant) < maximum}


def write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
