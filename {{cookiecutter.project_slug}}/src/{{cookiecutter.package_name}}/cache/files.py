"""Files below a directory: shared by the processes of one machine."""

import os
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import unquote, urlsplit

# One of so many writes looks for what has expired, among the files beside its own and in a folder
# that nobody may use any more.
SWEEP = 16


class FileBackend:
    """A key's parts are directories; a file's time of modification is the time when it expires."""

    errors = (OSError,)
    outages: tuple[type[Exception], ...] = ()

    def __init__(self, url: str, _: float) -> None:
        self.root = Path(unquote(urlsplit(url).path))
        if urlsplit(url).netloc or not self.root.is_absolute():
            raise ValueError(url)
        self.options: dict[str, Any] = {}

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        return [self.find(self.locate(key)) for key in keys]

    def locate(self, key: str) -> Path:
        """Name a key's file; no directory has too many."""
        *folders, name = key.split(":")
        return self.root.joinpath(*folders, name[:2], name)

    def find(self, path: Path) -> bytes | None:
        """Read a file that has not expired."""
        try:
            with path.open("rb") as file:
                return file.read() if os.fstat(file.fileno()).st_mtime > time.time() else None
        except FileNotFoundError:
            return None

    def set(self, key: str, value: bytes, lifetime: int) -> None:
        """Keep a value; who reads at this moment finds the old one or the new one, whole."""
        path = self.locate(key)
        new = self.write(path, value, lifetime)
        new.replace(path)
        if random.randrange(SWEEP) == 0:  # noqa: S311 - no secret
            self.sweep(path.parent)
            self.sweep(self.choose())

    def add(self, key: str, value: bytes, lifetime: int) -> bool:
        """Keep a value unless there is one, and tell whether it was kept."""
        path = self.locate(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # One at a time looks, and writes.
            flock(folder, LOCK_EX)
            if self.find(path) is not None:
                return False
            self.write(path, value, lifetime).replace(path)
        finally:
            os.close(folder)
        return True

    def write(self, path: Path, value: bytes, lifetime: int) -> Path:
        """Write a file beside another one, for the owner only."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{token_hex(8)}.new")
        ends = time.time() + lifetime
        try:
            with open(new, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(value)
            os.utime(new, (ends, ends))
        except OSError:
            # A full disk must not be filled with what could not be written.
            new.unlink(missing_ok=True)
            raise
        return new

    def choose(self) -> Path:
        """Choose a folder of files by chance."""
        folder = self.root
        while folders := [entry.path for entry in os.scandir(folder) if entry.is_dir()]:
            folder = Path(random.choice(folders))  # noqa: S311 - no secret
        return folder

    def sweep(self, folder: Path) -> None:
        """Remove what has expired."""
        now = time.time()
        for path in folder.iterdir():
            # Another process may be writing a new one; it needs no minute.
            ended = now - 60 if path.suffix == ".new" else now
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < ended:
                    path.unlink()

    def delete(self, keys: Collection[str]) -> None:
        """Forget values."""
        for key in keys:
            self.locate(key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that begin so."""
        for path in self.root.rglob("*"):
            if path.is_file() and path.suffix != ".new":
                *folders, _, name = path.relative_to(self.root).parts
                key = ":".join([*folders, name])
                if key.startswith(prefix):
                    yield key

    def describe(self) -> dict[str, Any]:
        """Say what it is and how full."""
        files = [path.stat() for path in self.root.rglob("*") if path.is_file()]
        return {"directory": str(self.root), "bytes": sum(file.st_size for file in files)}

    def ping(self) -> None:
        """Raise when the directory cannot be written to."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise PermissionError(str(self.root))
