"""`flask seed`: a little data to look at."""

import click
from flask.cli import with_appcontext
from sqlalchemy import exists, select

from ..database import get_session
from .models import Category, Product

EXAMPLES = {
    "Books": [("A Field Guide to Ferns", 2450), ("Tides and Currents", 1890)],
    "Garden": [("Copper watering can", 5900), ("Hand trowel", 1275), ("Seed box", 3400)],
    "Kitchen": [("Cast-iron pan", 6900), ("Egg timer", 890), ("Linen towel", 1450)],
}


@click.command
@with_appcontext
def seed() -> None:
    """Load example data into an empty catalog."""
    session = get_session()
    if session.scalar(select(exists(select(Category.id)))):
        click.echo("The catalog is not empty: nothing was loaded.")
        return
    for name, products in EXAMPLES.items():
        category = Category(name=name)
        for number, (product, price_cents) in enumerate(products, start=1):
            sku = f"{name.upper()}-{number}"
            session.add(Product(sku=sku, name=product, price_cents=price_cents, category=category))
    session.commit()
    click.echo(f"Loaded {len(EXAMPLES)} categories with their products.")
