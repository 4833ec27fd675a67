"""Types of columns that behave alike in every database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always in UTC and to the second, which is what HTTP and all databases can tell."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> Any:
        """Take any time zone; a time without one is a mistake."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value and value.astimezone(UTC).replace(microsecond=0)

    def process_result_value(self, value: Any, _: Dialect) -> datetime | None:
        """Give UTC, where a database returns a time without a zone, too."""
        moment: datetime | None = value and (
            value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        )
        return moment


def now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
