"""`flask seed`: example data."""

from collections.abc import Iterator

import click
from flask.cli import with_appcontext
# {% if cookiecutter.__sql %}
from sqlalchemy import exists, select, text

from ..core.database import cli_errors, get_dialect, get_session
from .bulk import save_products
from .models import Category, Product
# {% elif cookiecutter.database == "mongodb" %}

from ..core.mongodb import cli_errors
# {% elif cookiecutter.database == "cassandra" %}

from ..core.cassandra import cli_errors
# {% endif %}
from .schemas import ProductIn
# {% if cookiecutter.__nosql %}
from .storage import storage
# {% endif %}

# Name, price in cents, stock.
EXAMPLES = {
    "Books": [("A Field Guide to Ferns", 2450, 12), ("Tides and Currents", 1890, 0)],
    "Garden": [("Copper watering can", 5900, 4), ("Hand trowel", 1275, 30), ("Seed box", 3400, 9)],
    "Kitchen": [("Cast-iron pan", 6900, 3), ("Egg timer", 890, 0), ("Linen towel", 1450, 25)],
}


@click.command
@click.option("--extra", default=0, metavar="N", help="Add N generated products for load tests.")
@with_appcontext
def seed(extra: int) -> None:
    """Load example data into an empty catalog."""
    with cli_errors():
        click.echo(seed_catalog(extra))


# {% if cookiecutter.__sql %}
def seed_catalog(extra: int) -> str:
    """Load the example data in one transaction, unless there is data already; return a message."""
    session = get_session()
    if session.scalar(select(exists(select(Category.id)))):
        return "The catalog is not empty: nothing was loaded."
    categories = [Category(name=name) for name in EXAMPLES]
    session.add_all(categories)
    session.flush()
    saved = save_products(generate_products([category.id for category in categories], extra))
    session.commit()
    # Let the query planner count the rows.
    session.execute(text(f"{get_dialect().ANALYZE} {Product.__tablename__}"))
    session.commit()
    return f"Loaded {len(categories)} categories and {saved} products."


# {% else %}
def seed_catalog(extra: int) -> str:
    """Load the example data, unless there is data already; return a message."""
    if not storage.is_empty():
        return "The catalog is not empty: nothing was loaded."
    categories = [storage.insert_category(name) for name in EXAMPLES]
    products = generate_products([category.id for category in categories], extra)
    saved = storage.save_products(products)
    return f"Loaded {len(categories)} categories and {saved} products."


# {% endif %}
def generate_products(category_ids: list[int], extra: int) -> Iterator[ProductIn]:
    """Generate the example products, and `extra` more in all categories."""
    for category_id, (category, products) in zip(category_ids, EXAMPLES.items(), strict=True):
        for number, (name, price_cents, stock) in enumerate(products, start=1):
            sku = f"{category.upper()}-{number}"
            yield ProductIn(sku, name, price_cents, category_id, stock)
    for i in range(extra):
        category_id = category_ids[i % len(category_ids)]
        yield ProductIn(f"EXTRA-{i}", f"Product {i:07}", i, category_id, i % 100)
