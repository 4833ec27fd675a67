from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from {{ cookiecutter.package_name }}.catalog.bulk import (
    BATCH_SIZE,
    save_products,
)
from {{ cookiecutter.package_name }}.catalog.models import Category, Product
from {{ cookiecutter.package_name }}.catalog.schemas import ProductIn
from {{ cookiecutter.package_name }}.core.database import get_session


def add_category() -> int:
    category = Category(name="Books")
    get_session().add(category)
    get_session().flush()
    return category.id


def count_products() -> int:
    return get_session().scalar(select(func.count()).select_from(Product)) or 0


def test_products_are_saved_in_batches(app: Flask) -> None:
    with app.app_context():
        category_id = add_category()

        def products() -> Iterator[ProductIn]:
            for number in range(3 * BATCH_SIZE):
                if number % BATCH_SIZE == 0:
                    assert count_products() == number
                yield ProductIn(f"P-{number}", "Pen", 100, category_id)

        assert save_products(products()) == 3 * BATCH_SIZE
        assert count_products() == 3 * BATCH_SIZE


def test_existing_product_is_updated(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        category_id = add_category()
        save_products([ProductIn("P-1", "Pen", 100, category_id)])
        save_products(
            ProductIn(sku, name, 200, category_id, 7)
            for sku, name in [("P-1", "Red pen"), ("P-2", "Blue pen")]
        )
        get_session().commit()
    blue, red = client.get("/api/v1/products").get_json()["items"]
    assert (blue["sku"], red["sku"]) == ("P-2", "P-1")
    assert (red["name"], red["price_cents"], red["stock"]) == ("Red pen", 200, 7)
    assert client.get(f"/api/v1/products/{red['id']}").headers["ETag"] == '"2"'


def test_text_is_saved_unchanged(app: Flask) -> None:
    names = ['"big"', "it's", "\\N", "\\u0041", "a\tb\nc", "{}[],:", "%s :name $1", "Café 😀"]
    with app.app_context():
        category_id = add_category()
        save_products(
            ProductIn(f"P-{number}", name, 100, category_id) for number, name in enumerate(names)
        )
        assert get_session().scalars(select(Product.name).order_by(Product.sku)).all() == names


def test_last_duplicate_in_a_batch_is_saved(app: Flask) -> None:
    with app.app_context():
        category_id = add_category()
        given = [ProductIn("P-1", name, 100, category_id) for name in ("Pen", "Red pen")]
        assert save_products(given) == 2
        assert get_session().scalars(select(Product.name)).all() == ["Red pen"]


def test_rolled_back_products_are_not_saved(app: Flask) -> None:
    with app.app_context():
        category_id = add_category()
        get_session().commit()
        for _ in range(2):
            save_products([ProductIn("P-1", "Pen", 100, category_id)])
            get_session().rollback()
        assert count_products() == 0


def test_concurrent_upserts_change_each_version(app: Flask) -> None:
    with app.app_context():
        category_id = add_category()
        get_session().commit()

    def save(price: int) -> None:
        with app.app_context():
            save_products(ProductIn(f"P-{n:03}", "Pen", price, category_id) for n in range(500))
            get_session().commit()

    with ThreadPoolExecutor() as threads:
        list(threads.map(save, [100, 200]))
    with app.app_context():
        assert get_session().scalars(select(Product.version)).all() == [2] * 500
        assert len(set(get_session().scalars(select(Product.price_cents)))) == 1
