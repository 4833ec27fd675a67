"""Column types that behave the same in every database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UTCDateTime(TypeDecorator[datetime]):
    """A timestamp in UTC with a resolution of one second, as in HTTP headers."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> Any:
        """Convert the value to UTC; raise `ValueError` if it has no time zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a timestamp needs a time zone")
        return value and value.astimezone(UTC).replace(microsecond=0)

    def process_result_value(self, value: Any, _: Dialect) -> datetime | None:
        """Add the time zone, which some databases do not store."""
        timestamp: datetime | None = value and (
            value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        )
        return timestamp


def utcnow() -> datetime:
    """Return the current time in UTC with a resolution of one second."""
    return datetime.now(UTC).replace(microsecond=0)
