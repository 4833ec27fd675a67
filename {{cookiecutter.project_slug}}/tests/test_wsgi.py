from importlib import import_module

import pytest


def test_a_server_finds_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTING", "true")
    package = "{{ cookiecutter.package_name }}"
    client = import_module(f"{package}.wsgi").app.test_client()
    assert client.get("/health/live").status_code == 200
