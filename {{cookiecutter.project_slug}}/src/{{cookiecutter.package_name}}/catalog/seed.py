"""`flask seed`: data to look at, and to measure with."""

from collections.abc import Iterator

import click
from flask.cli import with_appcontext
from sqlalchemy import exists, select, text

from ..database import get_dialect, get_session
from ..database.commands import told_in_one_line
from .bulk import save_products
from .models import Category, Product
from .schemas import ProductInput

EXAMPLES = {
    "Books": [("A Field Guide to Ferns", 2450), ("Tides and Currents", 1890)],
    "Garden": [("Copper watering can", 5900), ("Hand trowel", 1275), ("Seed box", 3400)],
    "Kitchen": [("Cast-iron pan", 6900), ("Egg timer", 890), ("Linen towel", 1450)],
}


@click.command
@click.option("--more", default=0, metavar="N", help="Add N made-up products, to try it at size.")
@with_appcontext
def seed(more: int) -> None:
    """Load example data into an empty catalog."""
    with told_in_one_line():
        click.echo(load(more))


def load(more: int) -> str:
    """Load everything or nothing, and say which."""
    session = get_session()
    if session.scalar(select(exists(select(Category.id)))):
        return "The catalog is not empty: nothing was loaded."
    categories = [Category(name=name) for name in EXAMPLES]
    session.add_all(categories)
    session.flush()
    saved = save_products(make_products([category.id for category in categories], more))
    session.commit()
    # So that the planner knows how many there are now.
    session.execute(text(f"{get_dialect().ANALYZE} {Product.__tablename__}"))
    session.commit()
    return f"Loaded {len(categories)} categories and {saved} products."


def make_products(categories: list[int], more: int) -> Iterator[ProductInput]:
    """Make the examples, and then `more` products, spread over the categories."""
    for category_id, (category, products) in zip(categories, EXAMPLES.items(), strict=True):
        for number, (name, price_cents) in enumerate(products, start=1):
            yield ProductInput(f"{category.upper()}-{number}", name, price_cents, category_id, 10)
    for number in range(more):
        category_id = categories[number % len(categories)]
        stock = number % 100
        yield ProductInput(f"MORE-{number}", f"Product {number:07}", number, category_id, stock)
