import re
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

# Parts of a path that something behind a view may not take.
HOSTILE = ["*", "\n", "\x00", "é", "\udcff", " ", "'", "-1", "9" * 30, "..", "../x", "a" * 5000]


@pytest.mark.parametrize("part", HOSTILE)
def test_malformed_part_of_a_path_is_not_found(app: Flask, part: str) -> None:
    client = app.test_client()
    quoted = quote(part, safe="", errors="surrogateescape")
    for rule in app.url_map.iter_rules():
        if rule.arguments and "GET" in (rule.methods or ()):
            path = re.sub("<.+?>", quoted, rule.rule)
            assert client.get(path).status_code in {404, 405}, path


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/docs/openapi.json"])
def test_path_returns_200(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_wsgi_module_has_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_TESTING", "true")
    package = "{{ cookiecutter.package_name }}"
    client = import_module(f"{package}.wsgi").app.test_client()
    assert client.get("/health/live").status_code == 200
