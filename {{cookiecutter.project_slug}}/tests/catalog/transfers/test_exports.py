import csv
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from {{ cookiecutter.package_name }}.catalog.transfers import (
    exports,
    rows,
    storage,
)
from {{ cookiecutter.package_name }}.catalog.transfers.models import File
from {{ cookiecutter.package_name }}.database import get_engine, get_session

Record = dict[str, Any]

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "'", "'=1", "a=1"]  # noqa: RUF001


def test_an_export_has_all_products(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    export_file: Callable[[], Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    names = [f"kite-{number}" for number in range(5)]
    for name in names:
        add_product(name)
    job = export_file()
    assert (job["done"], job["total"], job["result"]["products"]) == (5, 5, 5)

    answer = client.get(job["result"]["address"])
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="products.csv"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_length == len(answer.data)
    records = [*csv.DictReader(answer.text.splitlines())]
    assert [record["name"] for record in records] == names
    assert records[0] == {
        "sku": "KITE-0",
        "name": "kite-0",
        "price_cents": "1250",
        "category_id": records[0]["category_id"],
        "stock": "0",
    }


def test_no_spreadsheet_runs_a_name(
    client: FlaskClient,
    add_product: Callable[[str], Record],
    export_file: Callable[[], Record],
    import_file: Callable[..., Record],
) -> None:
    skus = {}
    for number, name in enumerate(FORMULAS):
        category_id = add_product(f"x{number}")["category"]["id"]
        skus[f"X{number}"] = name
    text = "sku,name,price_cents,category_id\n" + "".join(
        f"{sku},{rows.mark(name)},1,{category_id}\n" for sku, name in skus.items()
    )
    assert import_file(text)["result"]["products"] == len(FORMULAS)

    exported = client.get(export_file()["result"]["address"]).text
    records = [*csv.DictReader(exported.splitlines())]
    cells = {record["sku"]: record["name"] for record in records}
    assert [cells[sku] for sku in skus] == [
        name if name == "a=1" else f"'{name}" for name in FORMULAS
    ]
    import_file(exported)
    items = client.get("/api/v1/products").get_json()["items"]
    assert {product["sku"]: product["name"] for product in items} == skus


def test_an_export_that_runs_again_begins_anew(
    app: Flask,
    client: FlaskClient,
    add_product: Callable[[str], Record],
    export_file: Callable[[], Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        add_product(f"kite-{number}")
    monkeypatch.setattr(exports, "PAGE", 2)
    monkeypatch.setattr(storage, "SIZE", 10)
    crash = pytest.MonkeyPatch()
    crash.setattr(exports, "report", lambda *_: 1 / 0)
    assert export_file()["state"] == "failed"
    crash.undo()

    with app.app_context():
        (file_id,) = get_session().scalars(select(File.id))
        address = f"/api/v1/products/exports/{file_id}"
        assert client.get(address).status_code == 404
        done = exports.export_products(file_id, address)
    whole = client.get(address)
    assert whole.text.count("kite-") == done["products"] == 3

    monkeypatch.setattr(exports, "pages", lambda: 1 / 0)
    with app.app_context():
        assert exports.export_products(file_id, address) == done
    assert client.get(address).data == whole.data


def test_only_exports_are_given_away(
    app: Flask,
    client: FlaskClient,
    import_file: Callable[..., Record],
) -> None:
    import_file("sku,name,price_cents,category_id\n")
    with app.app_context():
        (file_id,) = get_session().scalars(select(File.id))
    for unknown in (file_id, uuid4(), "1", "\x00"):
        assert client.get(f"/api/v1/products/exports/{unknown}").status_code == 404


def test_a_slow_reader_holds_no_connection(
    app: Flask,
    client: FlaskClient,
    export_file: Callable[[], Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = export_file()["result"]["address"]
    in_use: list[int] = []

    with app.app_context():
        pool: Any = get_engine().pool
    original = storage.read

    def read(file_id: str) -> Iterator[bytes]:
        for chunk in original(file_id):
            in_use.append(pool.checkedout())
            yield chunk

    monkeypatch.setattr(storage, "read", read)
    assert client.get(address).data
    assert in_use == [0]
