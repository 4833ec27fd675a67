"""Load test of the example: readers and editors of the catalog."""

# {% if cookiecutter.__auth %}
import os
# {% endif %}
import random
from typing import Any

import locust

PRODUCTS = "/api/v1/products"
# {% if cookiecutter.auth == "oidc" %}
# The session cookie of an editor's browser: `__Host-session=…`. Without it, all clients only read.
HEADERS = {"Cookie": os.environ.get("LOADTEST_COOKIE", "")}
# {% elif cookiecutter.__auth %}
# A token of a user with a role for it. Without it, all clients only read.
TOKEN = os.environ.get("LOADTEST_TOKEN", "")
HEADERS = {"Authorization": f"Bearer {TOKEN}" if TOKEN else ""}
# {% endif %}


class Customer(locust.HttpUser):
    """Browses, searches and views products."""

    weight = 20
    # Seconds between two requests.
    wait_time = locust.between(0.5, 2)

    def on_start(self) -> None:
        """Request the categories, and start at the first page of products."""
        self.categories = self.client.get("/api/v1/categories").json()
        self.after = ""

    @locust.task(6)
    def browse(self) -> None:
        """Request the next page of products."""
        page = self.client.get(PRODUCTS, params={"after": self.after}, name=PRODUCTS).json()
        self.after = page["next"] or ""
        self.seen = page["items"]

    @locust.task(3)
    def search(self) -> None:
        """Filter products by category and availability."""
        category = random.choice(self.categories)
        parameters = {"category_id": category["id"], "sold_out": random.choice([True, False])}
        self.client.get(PRODUCTS, params=parameters, name=f"{PRODUCTS}?category_id=")

    @locust.task(3)
    def view(self) -> None:
        """Request a product twice: the second response is 304 without a body."""
        for product in getattr(self, "seen", [])[:1]:
            url = f"{PRODUCTS}/{product['id']}"
            first = self.client.get(url, name=f"{PRODUCTS}/ID")
            etag = {"If-None-Match": first.headers.get("ETag", "")}
            self.client.get(url, headers=etag, name=f"{PRODUCTS}/ID, again")


class Editor(locust.HttpUser):
    """Creates, changes and deletes a product. `RATE_LIMIT_WRITES` must allow the requests."""

    weight = 2
    wait_time = locust.between(1, 3)

    # {% if cookiecutter.__auth %}
    abstract = not any(HEADERS.values())

    def on_start(self) -> None:
        """Send the credentials with each request."""
        self.client.headers.update(HEADERS)

    # {% endif %}
    @locust.task
    def write(self) -> None:
        """Leave the catalog unchanged."""
        (category, *_) = self.client.get("/api/v1/categories").json()
        product: dict[str, Any] = {
            "sku": f"LOAD-{random.getrandbits(64):X}",
            "name": "Load test",
            "price_cents": 1250,
            "category_id": category["id"],
            "stock": 7,
        }
        created = self.client.post(PRODUCTS, json=product)
        if created.ok:
            url, name = created.headers["Location"], f"{PRODUCTS}/ID"
            etag = {"If-Match": created.headers["ETag"]}
            changed = self.client.put(url, json={**product, "stock": 6}, headers=etag, name=name)
            etag = {"If-Match": changed.headers["ETag"]}
            self.client.delete(url, headers=etag, name=name)
