from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Select

from {{ cookiecutter.package_name }}.catalog.models import Product
from {{ cookiecutter.package_name }}.catalog.queries import page_of_products
from {{ cookiecutter.package_name }}.catalog.schemas import Position
from {{ cookiecutter.package_name }}.database import get_engine, get_session

MIDDLE = Position("Product 0005000", 5000)


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    """A catalog of a size at which a plan matters."""
    app.test_cli_runner().invoke(args=["seed", "--more", "10000"])
    with app.app_context():
        yield


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (page_of_products(20), "ix_product_name_id"),
        (page_of_products(20, MIDDLE), "ix_product_name_id"),
        (page_of_products(20, category_id=1), "ix_product_category_id_name_id"),
        (page_of_products(20, sold_out=True), "ix_product_stock_name_id"),
        (page_of_products(20, MIDDLE, sold_out=True), "ix_product_stock_name_id"),
    ],
)
def test_the_planner_uses_the_index(statement: Select[Product], index: str) -> None:
    dialect = get_engine().dialect
    sql = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    plan = get_session().connection().exec_driver_sql(f"{explain} {sql}").all()
    assert index in str(plan)
    assert "Sort" not in str(plan)
    assert "filesort" not in str(plan)
    assert "TEMP B-TREE" not in str(plan)
