"""Tables: a file is kept in the database, as web servers and workers share no disk."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ...database import Base
from ...database.types import now


class File(Base):
    """What a client sent, or will fetch; who knows its random id may have it."""

    __tablename__ = "catalog_file"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    # Not known while it is written.
    size: Mapped[int | None]
    # JSON, when the file has been read.
    report: Mapped[str | None] = mapped_column(Text)


class Chunk(Base):
    """A piece of a file; at most 60 kB, which every database stores well."""

    __tablename__ = "catalog_file_chunk"

    file_id: Mapped[str] = mapped_column(
        ForeignKey("catalog_file.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
