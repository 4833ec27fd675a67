"""Files in a directory, shared by the processes of one machine."""

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

from ..health import require_disk_space

# On average one write in this many deletes expired files: in its own directory, and in a random one
# that may no longer be in use.
WRITES_PER_SWEEP = 16

# Disk space for a directory of values. There are 256 of them, so the cache takes at most 512 MB,
# and a little more between two sweeps.
MAX_FOLDER_BYTES = 2 * 1024 * 1024


class FileBackend:
    """The parts of a key are directories; the modification time of a file is its expiry."""

    url_form = "file:///path"
    is_shared = True
    errors = (OSError,)
    connection_errors: tuple[type[Exception], ...] = ()

    def __init__(self, url: str, *_: object) -> None:
        self.root = Path(unquote(urlsplit(url).path))
        if urlsplit(url).netloc or not self.root.is_absolute():
            raise ValueError(url)
        self.options: dict[str, Any] = {}

    def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values, in the order of the keys."""
        return [self._read(self._path(key)) for key in keys]

    def _path(self, key: str) -> Path:
        # Two characters of the name are a directory, so that none has too many files.
        *folders, name = key.split(":")
        return self.root.joinpath(*folders, name[:2], name)

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read() if os.fstat(file.fileno()).st_mtime > time.time() else None
        except FileNotFoundError:
            return None

    def set(self, key: str, value: bytes, ttl: int) -> None:
        """Store a value; concurrent readers get the old value or the new one."""
        path = self._path(key)
        self._write(path, value, ttl).replace(path)
        if random.randrange(WRITES_PER_SWEEP) == 0:  # noqa: S311 - no secret
            self.sweep(path.parent)
            self.sweep(self.random_folder())

    def add(self, key: str, value: bytes, ttl: int) -> bool:
        """Store a value unless the key exists; return whether it was stored."""
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            # Only one process at a time reads and writes.
            flock(folder, LOCK_EX)
            if self._read(path) is not None:
                return False
            self._write(path, value, ttl).replace(path)
        finally:
            os.close(folder)
        return True

    def _write(self, path: Path, value: bytes, ttl: int) -> Path:
        # A new file in the same directory, readable by its owner only.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f"{token_hex(8)}.new")
        expires = time.time() + ttl
        try:
            with open(new, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(value)
            os.utime(new, (expires, expires))
        except OSError:
            # Do not fill the disk with incomplete files.
            new.unlink(missing_ok=True)
            raise
        return new

    def random_folder(self) -> Path:
        """Return a random directory of files."""
        folder = self.root
        while folders := [entry.path for entry in os.scandir(folder) if entry.is_dir()]:
            folder = Path(random.choice(folders))  # noqa: S311 - no secret
        return folder

    def sweep(self, folder: Path) -> None:
        """Delete expired files, and those that expire first if the directory is too large."""
        now = time.time()
        values = []
        for path in folder.iterdir():
            # Another process may be writing a new file; that takes less than a minute.
            is_new = path.suffix == ".new"
            with suppress(FileNotFoundError):
                status = path.stat()
                if status.st_mtime < now - 60 * is_new:
                    path.unlink()
                elif not is_new:
                    values.append((status.st_mtime, status.st_blocks * 512, path))
        size = sum(used for _, used, _ in values)
        for _, used, path in sorted(values):
            if size <= MAX_FOLDER_BYTES:
                break
            path.unlink(missing_ok=True)
            size -= used

    def delete(self, keys: Collection[str]) -> None:
        """Delete keys."""
        for key in keys:
            self._path(key).unlink(missing_ok=True)

    def keys(self, prefix: str) -> Iterator[str]:
        """Iterate over all keys with a prefix."""
        for path in self.root.rglob("*"):
            if path.is_file() and path.suffix != ".new":
                *folders, _, name = path.relative_to(self.root).parts
                key = ":".join([*folders, name])
                if key.startswith(prefix):
                    yield key

    def ping(self) -> None:
        """Raise an error if the directory is not writable or the disk is full."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise PermissionError(str(self.root))
        require_disk_space(self.root)
