from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from flask import Flask


def test_common_types_are_encoded(app: Flask) -> None:
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


def test_response_takes_the_arguments_of_jsonify(app: Flask) -> None:
    for arguments, text in {(): b"null", (7,): b"7", (1, 2): b"[1,2]"}.items():
        assert app.make_response(app.json.response(*arguments)).data == text
    assert app.make_response(app.json.response(name="Ada")).data == b'{"name":"Ada"}'
    with pytest.raises(TypeError):
        app.json.response(1, name="Ada")
