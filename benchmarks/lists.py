"""Measure lists of a project in this process: ROUNDS RESULT; settings come from the environment."""

import json
import os
import sys
from pathlib import Path

from my_service.catalog.models import Category, Product
from my_service.catalog.queries import page_of_products
from my_service.database import get_engine, get_session
from my_service.wsgi import app
from sqlalchemy import Select, event, func, insert, select, update
from sqlalchemy.orm import lazyload

from benchmarks.inside import make_request, measure

LIST = "/api/v1/products"
PAGE = 20
PAGES = 1000
# Of a few categories nobody would ask twice.
CATEGORIES = 1000
# How often each is asked for in a round.
REQUESTS = {"eager": 50, "N+1": 25, "made": 100, "kept": 500, "page 1": 100, "page 1,000": 100}


def spread() -> None:
    """Give the products many categories."""
    with app.app_context():
        session = get_session()
        session.execute(insert(Category), [{"name": f"Category {number}"} for number in range(CATEGORIES)])
        first, last = session.execute(select(func.min(Category.id), func.max(Category.id))).one()
        chosen = Product.id % (last - first + 1) + first
        session.execute(update(Product).values(category_id=chosen))
        session.commit()


def add_lists() -> None:
    """Add the same list twice: as the example loads it, and as one who forgets how."""
    # The example's models raise an error where this happens.
    forgetful = select(Product).options(lazyload(Product.category)).order_by(Product.name, Product.id).limit(PAGE)
    for name, statement in {"eager": page_of_products(PAGE), "N+1": forgetful}.items():

        def view(statement: Select = statement) -> list[list[str]]:
            products = get_session().scalars(statement).all()
            return [[product.name, product.category.name] for product in products]

        app.add_url_rule(f"/{name}", name, view)


def find_page() -> str:
    """Walk to a page far away, and give its address."""
    address = f"/made?limit={PAGE}"
    for _ in range(PAGES - 1):
        position = json.loads(make_request(app.wsgi_app, address)())["next"]
        address = f"/made?limit={PAGE}&after={position}"
    return address


def count_queries(address: str) -> int:
    """Count what a request asks the database."""
    seen: list[object] = []
    with app.app_context():
        event.listen(get_engine(), "before_cursor_execute", lambda *words: seen.append(words))
    make_request(app.wsgi_app, address)()
    return len(seen)


def main(rounds: str, result: str) -> None:
    """Let all take turns."""
    spread()
    add_lists()
    addresses = {
        "eager": "/eager",
        "N+1": "/N+1",
        "made": "/made",
        "kept": LIST,
        "page 1": f"/made?limit={PAGE}",
        "page 1,000": find_page(),
    }
    # Each request is logged, as in production; to nobody.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    figures: dict[str, list[float]] = {name: [] for name in addresses}
    for number in range(int(rounds) + 1):
        for name, address in addresses.items():
            figure = measure(make_request(app.wsgi_app, address), REQUESTS[name])["wall"]
            if number:  # the first one warms up
                figures[name].append(figure)
    queries = {name: count_queries(addresses[name]) for name in ("eager", "N+1")}
    Path(result).write_text(json.dumps({"rounds": figures, "queries": queries}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
