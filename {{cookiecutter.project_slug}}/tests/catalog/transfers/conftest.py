from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Record = dict[str, Any]


@pytest.fixture
def import_file(client: FlaskClient) -> Callable[..., Record]:
    """Send a file to be imported, and return its job, which is done."""

    def send(text: str | bytes, **query: str) -> Record:
        answer = client.post(
            "/api/v1/products/imports",
            data=text,
            content_type="text/csv",
            query_string=query,
        )
        assert answer.status_code == 202
        job: Record = client.get(answer.headers["Location"]).get_json()
        return job

    return send


@pytest.fixture
def export_file(client: FlaskClient) -> Callable[[], Record]:
    """Have all products exported, and return the job, which is done."""

    def send() -> Record:
        answer = client.post("/api/v1/products/exports")
        assert answer.status_code == 202
        job: Record = client.get(answer.headers["Location"]).get_json()
        return job

    return send
