from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import make_url

from {{ cookiecutter.package_name }}.core.database import UTCDateTime, utcnow

DIALECT: Any = make_url("sqlite://").get_dialect()()
TIMESTAMP = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


def test_timestamp_is_stored_in_utc_with_whole_seconds() -> None:
    column = UTCDateTime()
    given = TIMESTAMP.astimezone(EAST).replace(microsecond=678)
    stored = column.process_bind_param(given, DIALECT)
    assert stored == TIMESTAMP
    assert stored.tzinfo is UTC
    assert column.process_bind_param(None, DIALECT) is None


def test_timestamp_without_time_zone_is_rejected() -> None:
    with pytest.raises(ValueError, match="time zone"):
        UTCDateTime().process_bind_param(TIMESTAMP.replace(tzinfo=None), DIALECT)


@pytest.mark.parametrize(
    "stored", [TIMESTAMP.replace(tzinfo=None), TIMESTAMP, TIMESTAMP.astimezone(EAST)]
)
def test_timestamp_is_loaded_in_utc(stored: datetime) -> None:
    found = UTCDateTime().process_result_value(stored, DIALECT)
    assert found == TIMESTAMP
    assert found.tzinfo is UTC
    assert UTCDateTime().process_result_value(None, DIALECT) is None


def test_utcnow_equals_its_stored_value() -> None:
    assert abs(utcnow() - datetime.now(EAST)) < timedelta(minutes=1)
    assert utcnow().microsecond == 0
