from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import make_url

from {{ cookiecutter.package_name }}.database.types import UtcDateTime, now

DIALECT: Any = make_url("sqlite://").get_dialect()()
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


def test_a_moment_is_stored_in_utc_and_to_the_second() -> None:
    column = UtcDateTime()
    given = MOMENT.astimezone(EAST).replace(microsecond=678)
    stored = column.process_bind_param(given, DIALECT)
    assert stored == MOMENT
    assert stored.tzinfo is UTC
    assert column.process_bind_param(None, DIALECT) is None


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        UtcDateTime().process_bind_param(MOMENT.replace(tzinfo=None), DIALECT)


@pytest.mark.parametrize("stored", [MOMENT.replace(tzinfo=None), MOMENT, MOMENT.astimezone(EAST)])
def test_a_moment_is_read_in_utc(stored: datetime) -> None:
    found = UtcDateTime().process_result_value(stored, DIALECT)
    assert found == MOMENT
    assert found.tzinfo is UTC
    assert UtcDateTime().process_result_value(None, DIALECT) is None


def test_now_has_a_time_zone() -> None:
    assert abs(now() - datetime.now(EAST)) < timedelta(minutes=1)
