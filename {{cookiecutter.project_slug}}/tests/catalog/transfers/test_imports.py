from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.exceptions import ServiceUnavailable

from {{ cookiecutter.package_name }}.catalog.bulk import BATCH, save_products
from {{ cookiecutter.package_name }}.catalog.models import Product
from {{ cookiecutter.package_name }}.catalog.schemas import ProductInput
from {{ cookiecutter.package_name }}.catalog.transfers import (
    imports,
    rows,
    views,
)
from {{ cookiecutter.package_name }}.catalog.transfers.models import Chunk, File
from {{ cookiecutter.package_name }}.catalog.transfers.schemas import NAMED
from {{ cookiecutter.package_name }}.database import get_session
from {{ cookiecutter.package_name }}.tasks import JobError

Record = dict[str, Any]
ImportFile = Callable[..., Record]

HEADER = "sku,name,price_cents,category_id,stock\n"
IMPORTS = "/api/v1/products/imports"


def names(client: FlaskClient) -> list[str]:
    """List the products that are there."""
    items = client.get("/api/v1/products").get_json()["items"]
    return [product["name"] for product in items]


def lines(result: Record) -> dict[int, str]:
    """Map the lines of refused rows to what is wrong with them."""
    return {row["line"]: row["problem"] for row in result["refused_rows"]}


def test_good_rows_are_imported_and_the_others_reported(
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
) -> None:
    good = f"{category['id']},7"
    text = (
        f"\ufeff{HEADER}K-1,Kite,100,{good}\r\n"
        f"\n"
        f'K-2,"A ""big"", red kite",100,{good}\n'
        f"K-3,Tail,100,{category['id']},\n"
        f"k 4,,many,{good}\n"
        f"K-5,Kite,100,{category['id'] + 1},7\n"
        f"K-6,Kite\n"
        f'K-7,"Big, red kite",200,{good}'
    )
    job = import_file(text, reason="new season")
    assert job["state"] == "succeeded"
    assert job["done"] == job["total"] == len(text.encode())
    assert job["result"]["products"] == 4
    assert job["result"]["refused"] == 3
    refused = lines(job["result"])
    assert [*refused] == [6, 7, 8]
    assert all(f"{name}: " in refused[6] for name in ("sku", "name", "price_cents"))
    assert refused[7] == "category_id: there is no such category"
    assert refused[8] == "2 values for 5 columns"
    assert names(client) == ['A "big", red kite', "Big, red kite", "Kite", "Tail"]


def test_a_row_may_have_several_lines(category: Record, import_file: ImportFile) -> None:
    text = f'{HEADER}K-1,"two\nlines",1,{category["id"]},1\nk-2,Kite,1,{category["id"]},1\n'
    assert [*lines(import_file(text)["result"])] == [2, 4]


def test_what_is_no_utf_8_is_refused_by_row(category: Record, import_file: ImportFile) -> None:
    row = f"K-%d,Caf%s,1,{category['id']},1\n".encode()
    text = HEADER.encode() + row % (1, b"\xe9") + row % (2, "é".encode())
    result = import_file(text)["result"]
    assert (result["products"], lines(result)) == (1, {2: "it is not UTF-8"})


def test_columns_may_stand_in_any_order(
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
) -> None:
    import_file(f"name,category_id,price_cents,sku\nKite,{category['id']},1,K-1\n")
    assert names(client) == ["Kite"]


@pytest.mark.parametrize(
    "text",
    ["", "\n", "sku,name\n", f"colour,{HEADER}", f"sku,{HEADER}", HEADER.replace(",", ";")],
)
def test_unknown_columns_are_refused(import_file: ImportFile, text: str) -> None:
    result = import_file(text)["result"]
    assert result["refused"] == 1
    assert lines(result)[1].startswith("the columns must be sku,name,")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("x" * (rows.LONGEST + 1), "the line has more than 10000 characters"),
        ('K-2,"never ends\nand goes\non', "unexpected end of data"),
        ('K-2,"a"b,1,1,1', "expected after"),
        ('K-2,"' + ("x" * 9000 + "\n") * 20, "field larger than field limit"),
    ],
)
def test_from_a_row_without_an_end_nothing_is_read(
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
    fault: str,
    problem: str,
) -> None:
    row = f"K-1,Kite,1,{category['id']},1\n"
    result = import_file(f"{HEADER}{row}{fault}\n{row}")["result"]
    assert result["products"] == 1
    assert problem in lines(result)[3]
    assert lines(result)[3].endswith("the rest was not read")
    assert names(client) == ["Kite"]


def test_of_many_refused_rows_the_first_are_named(import_file: ImportFile) -> None:
    result = import_file(HEADER + "wrong\n" * (NAMED + 5))["result"]
    assert result["refused"] == NAMED + 5
    assert len(result["refused_rows"]) == NAMED


def test_each_batch_is_committed_and_told(
    app: Flask,
    category: Record,
    import_file: ImportFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int | None, int]] = []
    count = select(func.count()).select_from(Product)

    def report(done: int, total: int | None = None) -> None:
        with app.app_context():
            told.append((done, total, get_session().scalar(count) or 0))

    monkeypatch.setattr(imports, "report", report)
    row = f"K-%d,Kite,1,{category['id']},1\n"
    text = HEADER + "".join(row % number for number in range(2 * BATCH + 1))
    import_file(text)
    assert [saved for *_, saved in told] == [BATCH, 2 * BATCH, 2 * BATCH + 1]
    assert [done for done, *_ in told] == sorted(done for done, *_ in told)
    assert told[-1][:2] == (len(text), len(text))


def test_of_a_product_that_stands_twice_the_last_row_counts(
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved: list[str] = []

    def note(products: list[ProductInput]) -> int:
        saved.extend(product.sku for product in products)
        return save_products(products)

    monkeypatch.setattr(imports, "save_products", note)
    row = f"%s,%s,1,{category['id']},1\n"
    text = "".join(row % pair for pair in [("K-2", "Tail"), ("K-1", "Old"), ("K-1", "New")])
    import_file(HEADER + text)
    assert names(client) == ["New", "Tail"]
    assert saved == ["K-1", "K-1", "K-2"]


def test_an_import_that_runs_twice_does_no_harm(
    app: Flask,
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = f"K-%d,Kite %d,1,{category['id']},1\n"
    text = HEADER + "".join(row % (number, number) for number in range(BATCH + 10))
    crash = pytest.MonkeyPatch()
    crash.setattr(imports, "report", lambda *_: 1 / 0)
    assert import_file(text)["state"] == "failed"
    assert len(names(client)) == 20
    crash.undo()

    with app.app_context():
        (file,) = get_session().scalars(select(File)).all()
        again = imports.import_products(file.id, file.size)
        assert again["products"] == BATCH + 10
        monkeypatch.setattr(imports, "save", lambda *_: 1 / 0)
        assert imports.import_products(file.id, file.size) == again
        with pytest.raises(JobError, match="not kept"):
            imports.import_products("another", 1)


def test_the_report_is_mailed_once(
    category: Record,
    import_file: ImportFile,
    logged: Callable[[], list[Record]],
) -> None:
    text = f"{HEADER}K-1,Kite,1,{category['id']},1\n" + "wrong\n" * (NAMED + 1)
    import_file(text, notify="ada@example.com")
    (mail,) = (line for line in logged() if line["event"] == "mail")
    assert mail["to"] == "ada@example.com"
    assert mail["text"].startswith("Imported products: 1\nRefused rows: 101\n\nline 3: 1 values")
    assert mail["text"].endswith("\nand more")
    import_file(text.partition("wrong")[0], notify="ada@example.com")
    (mail,) = (line for line in logged() if line["event"] == "mail")
    assert mail["text"] == "Imported products: 1\nRefused rows: 0\n"


@pytest.mark.parametrize(
    "to", ["", "ada", "ada@example.com\nBcc: x@example.com", "a b@example.com"]
)
def test_only_an_address_is_notified(client: FlaskClient, to: str) -> None:
    answer = client.post(IMPORTS, data=HEADER, content_type="text/csv", query_string={"notify": to})
    assert answer.status_code == 422


def test_its_documentation_has_an_example(client: FlaskClient, category: Record) -> None:
    document = client.get("/docs/openapi.json").get_json()
    documented = document["paths"][IMPORTS]["post"]
    example = documented["requestBody"]["content"]["text/csv"]["example"]
    text = example.replace(",1,", f",{category['id']},")
    answer = client.post(IMPORTS, data=text, content_type="text/csv")
    assert client.get(answer.headers["Location"]).get_json()["result"]["products"] == 1


def test_only_csv_is_taken(client: FlaskClient) -> None:
    assert client.post(IMPORTS, data=HEADER).status_code == 415
    assert client.post(IMPORTS, data=HEADER, content_type="text/plain").status_code == 415


def test_a_large_file_is_kept_in_pieces(app: Flask, import_file: ImportFile) -> None:
    text = HEADER + f"{'K' * 9000},Kite,1,1,1\n" * 250
    assert len(text) > 2 * views.PART
    assert import_file(text)["result"]["refused"] == 250
    with app.app_context():
        (size,) = get_session().scalars(select(File.size))
        lengths = (
            get_session().scalars(select(func.length(Chunk.data)).order_by(Chunk.number)).all()
        )
    assert size == sum(lengths) == len(text)
    assert {*lengths[:-1]} == {60_000}


@pytest.mark.parametrize("tells_its_length", [True, False])
def test_a_file_has_a_largest_size(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    tells_its_length: bool,
) -> None:
    monkeypatch.setattr(views, "LIMIT", 1000)
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for size, status in [(1000, 202), (1001, 413), (5000, 413)]:
        body = BytesIO(HEADER.ljust(size).encode())
        sent = {"data": body} if tells_its_length else {"input_stream": body}
        answer = client.post(
            IMPORTS,
            **sent,
            content_type="text/csv",
            environ_overrides={} if tells_its_length else chunked,
        )
        assert answer.status_code == status


def test_when_jobs_are_not_taken_nothing_is_kept(
    app: Flask,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(app.extensions["tasks"].broker, "check", refuse)
    for address in (IMPORTS, "/api/v1/products/exports"):
        assert client.post(address, data=HEADER, content_type="text/csv").status_code == 503
    with app.app_context():
        assert get_session().scalar(select(func.count()).select_from(File)) == 0
        assert get_session().scalar(select(func.count()).select_from(Chunk)) == 0
