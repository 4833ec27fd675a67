"""Files in the database, written and read a chunk at a time."""

from collections.abc import Iterator
from io import RawIOBase
from typing import Any
from uuid import uuid4

from msgspec import json
from sqlalchemy import delete, insert, select, update

from ...database import get_engine, get_session
from ...tasks import JobError
from .models import Chunk, File

SIZE = 60_000


def create(kind: str) -> File:
    """Make a file with nothing in it."""
    file = File(id=str(uuid4()), kind=kind)
    get_session().add(file)
    get_session().flush()
    return file


class Writer:
    """Writes a file from its beginning, whatever an earlier attempt has left."""

    def __init__(self, file_id: str) -> None:
        self.file_id = file_id
        self.rest = bytearray()
        self.chunks = 0
        get_session().execute(delete(Chunk).where(Chunk.file_id == file_id))

    def write(self, data: bytes) -> None:
        """Add bytes; those that fill chunks are sent to the database."""
        self.rest += data
        whole = len(self.rest) // SIZE
        self.send([bytes(self.rest[n * SIZE : (n + 1) * SIZE]) for n in range(whole)])
        del self.rest[: whole * SIZE]

    def send(self, pieces: list[bytes]) -> None:
        """Add chunks to the table."""
        rows = [
            {"file_id": self.file_id, "number": number, "data": data}
            for number, data in enumerate(pieces, start=self.chunks)
        ]
        if rows:
            get_session().execute(insert(Chunk), rows)
            self.chunks += len(rows)

    def close(self) -> int:
        """Send the rest, after which the file is whole; return its size."""
        size = self.chunks * SIZE + len(self.rest)
        self.send([bytes(self.rest)] if self.rest else [])
        get_session().execute(update(File).where(File.id == self.file_id).values(size=size))
        return size


def keep_report(file_id: str, result: Any) -> bool:
    """Keep what a job made of a file; False if another worker that had the job was faster."""
    mine = (File.id == file_id, File.report.is_(None))
    text = json.encode(result).decode()
    changed: Any = get_session().execute(update(File).where(*mine).values(report=text))
    return bool(changed.rowcount)


def find_report(file_id: str) -> Any:
    """Return what a job has made of a file, or None; raise if there is no such file."""
    found = get_session().scalars(select(File.report).where(File.id == file_id)).all()
    get_session().commit()
    if not found:
        raise JobError("The file is not kept any longer.")
    return json.decode(found[0]) if found[0] else None


def read(file_id: str) -> Iterator[bytes]:
    """Read a file; however slow its reader is, no connection waits for it."""
    number = 0
    while data := read_chunk(file_id, number):
        yield data
        number += 1


def read_chunk(file_id: str, number: int) -> bytes:
    """Read a chunk, apart from the session's transaction; past the end there is nothing."""
    statement = select(Chunk.data).where(Chunk.file_id == file_id, Chunk.number == number)
    with get_engine().connect() as connection:
        return connection.scalar(statement) or b""


class Reader(RawIOBase):
    """A file as Python reads files."""

    def __init__(self, file_id: str) -> None:
        self.chunks = read(file_id)
        self.rest = memoryview(b"")
        self.position = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the present chunk, or from the next one."""
        if not self.rest:
            self.rest = memoryview(next(self.chunks, b""))
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        self.position += count
        return count
