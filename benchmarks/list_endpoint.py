"""Measure list endpoints without an HTTP server. Arguments: ROUNDS RESULT.

The settings are read from the environment.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

from my_service.catalog.models import Category, Product
from my_service.core.database import get_engine, get_session
from my_service.wsgi import app
from sqlalchemy import Select, event, func, insert, select, update
from sqlalchemy.orm import joinedload, lazyload

from benchmarks.in_process import make_request, measure_request
from benchmarks.measurements import alternate

LIST = "/api/v1/products"
PAGE_SIZE = 20
PAGES = 1000
# With a few categories, the session's identity map would hide the N+1 queries.
CATEGORIES = 1000
# Number of requests per round.
REQUESTS = {"eager": 50, "N+1": 25, "uncached": 100, "cached": 500, "page 1": 100, "page 1,000": 100}


def distribute_products() -> None:
    """Distribute the products over many categories."""
    with app.app_context():
        session = get_session()
        session.execute(insert(Category), [{"name": f"Category {number}"} for number in range(CATEGORIES)])
        first, last = session.execute(select(func.min(Category.id), func.max(Category.id))).one()
        chosen = Product.id % (last - first + 1) + first
        session.execute(update(Product).values(category_id=chosen))
        session.commit()


def add_list_routes() -> None:
    """Add routes for the same list with eager loading and with lazy loading."""
    # The models of the example raise an error on lazy loading, so it is enabled here.
    lazy = select(Product).options(lazyload(Product.category)).order_by(Product.name, Product.id).limit(PAGE_SIZE)
    for name, statement in {"eager": lazy.options(joinedload(Product.category)), "N+1": lazy}.items():

        def view(statement: Select = statement) -> list[list[str]]:
            products = get_session().scalars(statement).all()
            return [[product.name, product.category.name] for product in products]

        app.add_url_rule(f"/{name}", name, view)


def find_last_url() -> str:
    """Follow the pagination to page 1,000, and return its URL."""
    url = f"/uncached?limit={PAGE_SIZE}"
    for _ in range(PAGES - 1):
        cursor = json.loads(make_request(app.wsgi_app, url)())["next"]
        url = f"/uncached?limit={PAGE_SIZE}&after={cursor}"
    return url


def count_queries(url: str) -> int:
    """Return the number of SQL statements that a request executes."""
    statements: list[object] = []
    with app.app_context():
        event.listen(get_engine(), "before_cursor_execute", lambda *arguments: statements.append(arguments))
    make_request(app.wsgi_app, url)()
    return len(statements)


def main(rounds: str, result: str) -> None:
    """Measure all lists in alternation, and write JSON to `result`."""
    distribute_products()
    add_list_routes()
    urls = {
        "eager": "/eager",
        "N+1": "/N+1",
        "uncached": "/uncached",
        "cached": LIST,
        "page 1": f"/uncached?limit={PAGE_SIZE}",
        "page 1,000": find_last_url(),
    }
    # Each request is logged, as in production, to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    targets = {
        name: partial(measure_request, make_request(app.wsgi_app, url), REQUESTS[name]) for name, url in urls.items()
    }
    times = {name: [one["wall"] for one in found] for name, found in alternate(targets, int(rounds)).items()}
    queries = {name: count_queries(urls[name]) for name in ("eager", "N+1")}
    Path(result).write_text(json.dumps({"rounds": times, "queries": queries}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
