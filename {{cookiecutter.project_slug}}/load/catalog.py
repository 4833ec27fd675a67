"""Clients of the example: those who browse and search, and those who write."""

import random
from typing import Any

import locust

PRODUCTS = "/api/v1/products"


class Customer(locust.HttpUser):
    """Looks from page to page, and at single products."""

    weight = 20
    # Seconds that a person takes.
    wait_time = locust.between(0.5, 2)

    def on_start(self) -> None:
        """Begin with the first page."""
        self.categories = self.client.get("/api/v1/categories").json()
        self.after = ""

    @locust.task(6)
    def browse(self) -> None:
        """Turn the page."""
        page = self.client.get(PRODUCTS, params={"after": self.after}, name=PRODUCTS).json()
        self.after = page["next"] or ""
        self.seen = page["items"]

    @locust.task(3)
    def search(self) -> None:
        """Look what a category has, or what is sold out."""
        category = random.choice(self.categories)
        parameters = {"category_id": category["id"], "sold_out": random.choice([True, False])}
        self.client.get(PRODUCTS, params=parameters, name=f"{PRODUCTS}?category_id=")

    @locust.task(3)
    def look(self) -> None:
        """Look at a product, and once more: the second answer has no body."""
        for product in getattr(self, "seen", [])[:1]:
            address = f"{PRODUCTS}/{product['id']}"
            first = self.client.get(address, name=f"{PRODUCTS}/ID")
            tag = {"If-None-Match": first.headers.get("ETag", "")}
            self.client.get(address, headers=tag, name=f"{PRODUCTS}/ID, again")


class Editor(locust.HttpUser):
    """Adds a product, changes it and removes it; `RATE_LIMIT_WRITES` has to allow it."""

    weight = 2
    wait_time = locust.between(1, 3)

    @locust.task
    def write(self) -> None:
        """Leave the catalog as it was."""
        (category, *_) = self.client.get("/api/v1/categories").json()
        product: dict[str, Any] = {
            "sku": f"LOAD-{random.getrandbits(64):X}",
            "name": "Made by load",
            "price_cents": 1250,
            "category_id": category["id"],
            "stock": 7,
        }
        made = self.client.post(PRODUCTS, json=product)
        if made.ok:
            address, name = made.headers["Location"], f"{PRODUCTS}/ID"
            seen = {"If-Match": made.headers["ETag"]}
            sold = self.client.put(address, json={**product, "stock": 6}, headers=seen, name=name)
            seen = {"If-Match": sold.headers["ETag"]}
            self.client.delete(address, headers=seen, name=name)
