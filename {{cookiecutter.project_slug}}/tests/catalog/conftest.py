from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Record = dict[str, Any]


@pytest.fixture
def category(client: FlaskClient) -> Record:
    """Category in the database, as the API returns it."""
    created: Record = client.post("/api/v1/categories", json={"name": "Books"}).get_json()
    return created


@pytest.fixture
def add_product(client: FlaskClient, category: Record) -> Callable[[str], Record]:
    """Function that creates a product with a name and returns it."""

    def add(name: str) -> Record:
        product = {
            "sku": name.upper(),
            "name": name,
            "price_cents": 1250,
            "category_id": category["id"],
        }
        created: Record = client.post("/api/v1/products", json=product).get_json()
        return created

    return add
