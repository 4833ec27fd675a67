from collections.abc import Iterator

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.catalog.queries import products_page
from {{ cookiecutter.package_name }}.catalog.schemas import Cursor, ProductQuery
# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.auth.row_security import get_criteria
# {% endif %}
from {{ cookiecutter.package_name }}.core.database import get_engine, get_session

MIDDLE = Cursor("Product 0005000", 5000).encode()
INDEXES = [
    (ProductQuery(), "ix_product_name_id"),
    (ProductQuery(after=MIDDLE), "ix_product_name_id"),
    (ProductQuery(category_id=1), "ix_product_category_id_name_id"),
    (ProductQuery(sold_out=True), "ix_product_stock_name_id"),
    (ProductQuery(after=MIDDLE, sold_out=True), "ix_product_stock_name_id"),
]


@pytest.fixture
def large_catalog(app: Flask) -> Iterator[None]:
    """Application with 10,000 products: with a few the planner would read the whole table."""
    app.test_cli_runner().invoke(args=["seed", "--extra", "10000"])
    with app.app_context():
        # SQLite reads the row counts of its planner when it connects.
        get_engine().dispose()
        yield


def plan(query: ProductQuery) -> str:
    """Return the plan of the statement that loads a page of products."""
    dialect = get_engine().dialect
    statement = products_page(query)
    # {% if cookiecutter.__auth %}
    statement = statement.options(*get_criteria(None))
    # {% endif %}
    sql = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    return str(get_session().connection().exec_driver_sql(f"{explain} {sql}").all())


@pytest.mark.usefixtures("large_catalog")
def test_queries_use_indexes_without_sorting() -> None:
    for query, index in INDEXES:
        found = plan(query)
        assert index in found
        assert not any(word in found for word in ("Sort", "filesort", "TEMP B-TREE"))
