from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }} import outgoing
from {{ cookiecutter.package_name }}.outgoing import UnreachableError
from {{ cookiecutter.package_name }}.titles import fetch_title, find_title

TITLES = "/api/v1/titles"


def fetch(app: Flask, url: str) -> Any:
    """Have a title fetched, and ask for the job."""
    client = app.test_client()
    accepted = client.post(TITLES, json={"url": url, "reason": "curious"})
    assert accepted.status_code == 202
    return client.get(accepted.headers["Location"]).get_json()


def test_a_title_is_fetched(calling: Flask, service: Any) -> None:
    service.answer(b"<html><head><title>Caf\xe9</title>", Content_Type="text/html; charset=latin1")
    service.answer(b"<html><head><title>A &amp;\n B</title>", Content_Type="text/html")
    done = fetch(calling, f"{service.url}/page")
    assert done["state"] == "succeeded"
    assert done["result"] == {"url": f"{service.url}/page", "status": 200, "title": "Caf\ufffd"}
    assert fetch(calling, service.url)["result"]["title"] == "A & B"


def test_a_request_s_id_goes_along(calling: Flask, service: Any) -> None:
    service.answer(b"<title>Kite</title>")
    accepted = calling.test_client().post(TITLES, json={"url": service.url})
    assert service.asked[0].headers["X-Request-ID"] == accepted.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("page", "declared", "title"),
    [
        (b"", "", None),
        (b"<p>none", "", None),
        (b"<title>never ends", "", None),
        (b"<title></title>", "", ""),
        (b"<title>first</title><svg><title>second</title></svg>", "", "first"),
        (b"<TITLE lang=en> many\n\t spaces </TITLE>", "", "many spaces"),
        (b"<title>" + b"x" * 1000 + b"</title>", "", "x" * 300),
        (b"<title>\xc3\xa9</title>", "", "é"),
        (b"<title>\xe9</title>", "iso-8859-1", "é"),
        (b"<title>\xe9</title>", "no-charset", "\ufffd"),
        (b"<title>414243</title>", "hex", "414243"),
        (b"<title>ab-\xff</title>", "punycode", "ab-\ufffd"),
        (b"<meta charset='windows-1252'><title>\x80</title>", "", "€"),
        (b'<meta content="text/html; charset=koi8-r"><title>\xc1</title>', "", "а"),  # noqa: RUF001
        (b"<meta charset=koi8-r><title>\xc3\xa9</title>", "utf-8", "é"),
        (b"<title>" + b"\x00" * 100, "utf-16", None),
    ],
)
def test_a_title_is_found(page: bytes, declared: str, title: str | None) -> None:
    assert find_title(page, declared) == title


@pytest.mark.parametrize("url", ["", "ftp://example.com", "http://user:pass@example.com"])
def test_what_is_no_address_of_a_page_is_refused(calling: Flask, url: str) -> None:
    answer = calling.test_client().post(TITLES, json={"url": url})
    assert answer.status_code == 422
    (error,) = answer.get_json(force=True)["errors"]
    assert error["field"] == "url"


def test_an_internal_address_is_the_job_s_error(calling: Flask) -> None:
    failed = fetch(calling, "http://169.254.169.254/latest/meta-data")
    assert failed["state"] == "failed"
    assert failed["error"] == "The page was not fetched: its host has no public address."


def test_a_service_that_fails_is_worth_another_attempt(
    calling: Flask, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "PAUSES", ())
    service.answer(status=500)
    with calling.app_context(), pytest.raises(UnreachableError, match="500"):
        fetch_title(service.url)
    service.answers.clear()
    service.answer(b"<title>Not found</title>", status=404)
    assert fetch(calling, service.url)["result"]["title"] == "Not found"
