from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Record = dict[str, Any]


@pytest.fixture
def category(client: FlaskClient) -> Record:
    """A category that is there."""
    answer: Record = client.post("/api/v1/categories", json={"name": "Books"}).get_json()
    return answer


@pytest.fixture
def add_product(client: FlaskClient, category: Record) -> Callable[[str], Record]:
    """Add a product of a name."""

    def add(name: str) -> Record:
        given = {
            "sku": name.upper(),
            "name": name,
            "price_cents": 1250,
            "category_id": category["id"],
        }
        answer: Record = client.post("/api/v1/products", json=given).get_json()
        return answer

    return add
