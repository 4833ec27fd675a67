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


@pytest.fixture
def large_catalog(app: Flask) -> Iterator[None]:
    """Application with 10,000 products: with a few the planner would read the whole table."""
    app.test_cli_runner().invoke(args=["seed", "--extra", "10000"])
    with app.app_context():
        # SQLite reads the row counts of its planner when it connects.
        get_engine().dispose()
        yield


@pytest.mark.usefixtures("large_catalog")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        (ProductQuery(), "ix_product_name_id"),
        (ProductQuery(after=MIDDLE), "ix_product_name_id"),
        (ProductQuery(category_id=1), "ix_product_category_id_name_id"),
        (ProductQuery(sold_out=True), "ix_product_stock_name_id"),
        (ProductQuery(after=MIDDLE, sold_out=True), "ix_product_stock_name_id"),
    ],
)
def test_query_uses_index_without_sorting(query: ProductQuery, index: str) -> None:
    dialect = get_engine().dialect
    statement = products_page(query)
    # {% if cookiecutter.__auth %}
    statement = statement.options(*get_criteria(None))
    # {% endif %}
    sql = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    plan = str(get_session().connection().exec_driver_sql(f"{explain} {sql}").all())
    assert index in plan
    assert not any(word in plan for word in ("Sort", "filesort", "TEMP B-TREE"))
