from importlib import import_module

import pytest

from {{ cookiecutter.package_name }}.config import Settings


def test_a_server_finds_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.__struct_fields__:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLASK_TESTING", "true")
    package = "{{ cookiecutter.package_name }}"
    client = import_module(f"{package}.wsgi").app.test_client()
    assert client.get("/health/live").status_code == 200
