from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
# {% if cookiecutter.__sql %}
from sqlalchemy import func, select
# {% endif %}
from werkzeug.exceptions import ServiceUnavailable

# {% if cookiecutter.__sql %}
from {{ cookiecutter.package_name }}.catalog import imports
from {{ cookiecutter.package_name }}.catalog.bulk import BATCH_SIZE
from {{ cookiecutter.package_name }}.catalog.csv_format import MAX_REPORTED_ROWS
from {{ cookiecutter.package_name }}.catalog.imports import Upload
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow
# {% elif cookiecutter.database == "mongodb" %}
from {{ cookiecutter.package_name }}.catalog import import_jobs as imports
from {{ cookiecutter.package_name }}.catalog import mongodb as storage
from {{ cookiecutter.package_name }}.catalog.csv_format import MAX_REPORTED_ROWS
from {{ cookiecutter.package_name }}.catalog.mongodb import BATCH_SIZE
# {% elif cookiecutter.database == "cassandra" %}
from {{ cookiecutter.package_name }}.catalog import cassandra as storage
from {{ cookiecutter.package_name }}.catalog import import_jobs as imports
from {{ cookiecutter.package_name }}.catalog.cassandra import BATCH_SIZE
from {{ cookiecutter.package_name }}.catalog.csv_format import MAX_REPORTED_ROWS
# {% endif %}
from {{ cookiecutter.package_name }}.core.tasks import JobError

Record = dict[str, Any]
ImportFile = Callable[..., Record]

HEADER = "sku,name,price_cents,category_id,stock\n"
IMPORTS = "/api/v1/products/imports"


@pytest.fixture
def import_file(client: FlaskClient) -> ImportFile:
    """Function that uploads a file and returns the status of its job, which has finished."""

    def upload(content: str, **query: str) -> Record:
        response = client.post(IMPORTS, data=content, content_type="text/csv", query_string=query)
        assert response.status_code == 202
        job: Record = client.get(response.headers["Location"]).get_json()
        return job

    return upload


def product_names(client: FlaskClient) -> list[str]:
    items = client.get("/api/v1/products").get_json()["items"]
    return [product["name"] for product in items]


def count_uploads() -> int:
    # {% if cookiecutter.__sql %}
    return get_session().scalar(select(func.count()).select_from(Upload)) or 0
    # {% else %}
    return storage.count_uploads()
    # {% endif %}


def test_valid_rows_are_imported_and_others_reported(
    client: FlaskClient, category: Record, import_file: ImportFile
) -> None:
    valid = f"{category['id']},7"
    job = import_file(
        f"\ufeff{HEADER}K-1,Kite,100,{valid}\r\n"
        f"\n"
        f'K-2,"A ""big"", red kite",100,{valid}\n'
        f"K-3,Tail,100,{category['id']},\n"
        f"k 4,Line,100,{valid}\n"
        f"K-5,Kite,100,{category['id'] + 1},7\n"
        f"K-6,Kite\n"
    )
    assert job["state"] == "succeeded"
    assert job["done"] == job["total"] == 6
    rejected = {row["line"]: row["message"] for row in job["result"].pop("rejected_rows")}
    assert job["result"] == {"products": 3, "rejected": 3}
    assert [*rejected] == [6, 7, 8]
    assert "sku" in rejected[6]
    assert rejected[7] == "category_id: there is no such category"
    assert rejected[8] == "wrong number of values"
    assert product_names(client) == ['A "big", red kite', "Kite", "Tail"]


def test_pieces_of_a_file_end_anywhere(
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Only SQL databases return a file in pieces.
    monkeypatch.setattr(imports, "PIECE_SIZE", 3, raising=False)
    valid = f"1,{category['id']},7"
    job = import_file(f'{HEADER}K-1,"Kite, ""red""",{valid}\r\n\nK-2,Café 😀,{valid}')
    assert job["done"] == job["total"] == job["result"]["products"] == 2
    assert product_names(client) == ["Café 😀", 'Kite, "red"']


def test_control_characters_are_rejected(category: Record, import_file: ImportFile) -> None:
    rows = [f"{names},1,{category['id']},7\n" for names in ("K-1,a\0b", "K-2\0,Kite", "K-3,Kite")]
    result = import_file(HEADER + "".join(rows))["result"]
    assert (result["products"], result["rejected"]) == (1, 2)
    assert [row["line"] for row in result["rejected_rows"]] == [2, 3]


def test_malformed_end_imports_nothing(
    client: FlaskClient, category: Record, import_file: ImportFile
) -> None:
    rows = [f"K-{number},Kite,1,{category['id']},1\n" for number in range(BATCH_SIZE)]
    assert import_file(HEADER + "".join(rows) + 'L-1,"never ends\n')["state"] == "failed"
    assert product_names(client) == []


def test_columns_can_be_in_any_order(
    client: FlaskClient, category: Record, import_file: ImportFile
) -> None:
    import_file(f"name,stock,category_id,price_cents,sku\nKite,,{category['id']},1,K-1\n")
    assert product_names(client) == ["Kite"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "The columns must be sku,name,"),
        ("sku,name\n", "The columns must be sku,name,"),
        (f"color,{HEADER}", "The columns must be sku,name,"),
        (f"sku,{HEADER}", "The columns must be sku,name,"),
        (f'{HEADER}K-1,"a"b,1,1,1\n', "After line 1: "),
        (f'{HEADER}K-1,"never ends\n', "unexpected end of data"),
    ],
)
def test_malformed_file_fails_the_job(import_file: ImportFile, content: str, error: str) -> None:
    job = import_file(content)
    assert job["state"] == "failed"
    assert error in job["error"]


def test_report_lists_first_rejected_rows(import_file: ImportFile) -> None:
    report = import_file(HEADER + "invalid\n" * (MAX_REPORTED_ROWS + 5))["result"]
    assert report["rejected"] == MAX_REPORTED_ROWS + 5
    assert len(report["rejected_rows"]) == MAX_REPORTED_ROWS


def test_last_duplicate_row_wins(
    client: FlaskClient, category: Record, import_file: ImportFile
) -> None:
    row = f"%s,%s,1,{category['id']},1\n"
    rows = [row % pair for pair in [("K-2", "Tail"), ("K-1", "Old"), ("K-1", "New")]]
    import_file(HEADER + "".join(rows))
    assert product_names(client) == ["New", "Tail"]


def test_import_can_be_repeated_after_a_crash(
    app: Flask,
    client: FlaskClient,
    category: Record,
    import_file: ImportFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = f"K-%d,Kite %d,1,{category['id']},1\n"
    content = HEADER + "".join(row % (number, number) for number in range(BATCH_SIZE + 10))
    with monkeypatch.context() as patch:
        patch.setattr(imports, "report_progress", lambda *_: 1 / 0)
        assert import_file(content)["state"] == "failed"
    assert len(product_names(client)) == 20

    with app.app_context():
        # {% if cookiecutter.__sql %}
        upload_id = get_session().scalars(select(Upload.id)).one()
        # {% else %}
        upload_id = storage.find_newest_upload()
        # {% endif %}
        repeated = imports.import_products(upload_id)
        assert repeated["products"] == BATCH_SIZE + 10
        monkeypatch.setattr(imports, "import_batch", lambda *_: 1 / 0)
        assert imports.import_products(upload_id) == repeated
        with pytest.raises(JobError, match="deleted"):
            imports.import_products(upload_id + 1)


def test_report_is_mailed(
    category: Record,
    import_file: ImportFile,
    read_logs: Callable[[], list[Record]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imports, "host_matcher", lambda _: lambda domain: domain == "example.com")
    content = f"{HEADER}K-1,Kite,1,{category['id']},1\ninvalid\n"
    import_file(content, notify="ada@example.com")
    (mail,) = (line for line in read_logs() if line["event"] == "mail")
    assert mail["to"] == "ada@example.com"
    assert mail["text"] == "Products: 1\nRejected rows: 1\nline 3: wrong number of values"


@pytest.mark.parametrize("notify", ["", "ada", "ada@example.com", "ada@example.com\nBcc: x@x.org"])
def test_other_recipients_return_422(client: FlaskClient, notify: str) -> None:
    query = {"notify": notify}
    response = client.post(IMPORTS, data=HEADER, content_type="text/csv", query_string=query)
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == "notify"


def test_imports_have_their_own_rate_limit(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT_IMPORTS="1/day").test_client()
    statuses = [client.post(IMPORTS, query_string={"x": 1}).status_code for _ in range(2)]
    assert statuses == [422, 429]


def test_other_encoding_returns_422(client: FlaskClient) -> None:
    content = HEADER.encode() + b"K-1,Caf\xe9,1,1,1\n"
    assert client.post(IMPORTS, data=content, content_type="text/csv").status_code == 422


def test_other_content_type_returns_415(client: FlaskClient) -> None:
    assert client.post(IMPORTS, data=HEADER, content_type="text/plain").status_code == 415


def test_too_large_file_returns_413(app: Flask, client: FlaskClient) -> None:
    content = HEADER.ljust(app.config["MAX_CONTENT_LENGTH"] + 1)
    assert client.post(IMPORTS, data=content, content_type="text/csv").status_code == 413


def test_file_is_not_stored_if_the_broker_is_unreachable(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ServiceUnavailable

    # {% if cookiecutter.__sql %}
    monkeypatch.setattr(app.extensions["tasks"], "ping", fail)
    # {% else %}
    monkeypatch.setattr(imports.import_products, "delay", fail)
    # {% endif %}
    assert client.post(IMPORTS, data=HEADER, content_type="text/csv").status_code == 503
    with app.app_context():
        assert count_uploads() == 0


def test_old_uploads_are_deleted(app: Flask) -> None:
    with app.app_context():
        # {% if cookiecutter.__sql %}
        for days in (6, 8):
            get_session().add(Upload(content=b"", created_at=utcnow() - timedelta(days=days)))
        get_session().commit()
        # {% else %}
        for days in (6, 8):
            storage.insert_upload("", age=timedelta(days=days))
        # {% endif %}
        imports.delete_old_uploads()
        assert count_uploads() == 1
