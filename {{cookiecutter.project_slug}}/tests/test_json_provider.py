from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from flask import Flask


def test_writes_what_applications_hold(app: Flask) -> None:
    text = app.json.dumps(
        {
            "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            "id": UUID(int=1),
            "price": Decimal("1.50"),
            "name": "Žižkov",
        },
    )
    assert app.json.loads(text) == {
        "at": "2026-01-02T03:04:00Z",
        "id": "00000000-0000-0000-0000-000000000001",
        "price": "1.50",
        "name": "Žižkov",
    }
    assert "Žižkov" in text
