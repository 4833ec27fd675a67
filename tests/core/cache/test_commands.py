from collections.abc import Callable, Collection
from itertools import islice

import pytest
from flask import Flask
from msgspec.structs import replace

from {{ cookiecutter.package_name }}.config import get_settings
from {{ cookiecutter.package_name }}.core.cache import cache
from {{ cookiecutter.package_name }}.core.cache.store import Store

from .counter import CachedCounter


def clear(app: Flask) -> str:
    result = app.test_cli_runner().invoke(args=["cache", "clear"])
    assert result.exit_code == 0, result.output
    return result.output


def test_clear_deletes_own_keys_of_all_releases(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    settings = get_settings(app)
    own: Store = app.extensions["cache"]
    older = Store(own.backend, replace(settings, CACHE_VERSION="0"))
    # The other prefix begins with ours.
    other = Store(own.backend, replace(settings, CACHE_PREFIX=f"{settings.CACHE_PREFIX}2"))
    for store in (own, older, other):
        CachedCounter(store).get()
    assert clear(app) == "Deleted 2 keys.\n"
    assert not [*own.backend.keys(own.prefix)]
    assert [*other.backend.keys(other.prefix)]
    with app.app_context():
        assert cache.clear() == 0


@pytest.mark.parametrize(("written", "deleted"), [(1, 2), (1000, 5)])
def test_clear_deletes_keys_written_meanwhile_in_limited_time(
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    written: int,
    deleted: int,
) -> None:
    app = make_app()
    store: Store = app.extensions["cache"]
    delete = store.backend.delete
    late = iter(range(written))

    def delete_while_others_write(keys: Collection[str]) -> None:
        delete(keys)
        for name in islice(late, 1):
            store.backend.set(f"{store.release}value:{name}", b"", 60)

    monkeypatch.setattr(store.backend, "delete", delete_while_others_write)
    store.backend.set(f"{store.release}value:early", b"", 60)
    assert clear(app) == f"Deleted {deleted} keys.\n"


def test_clear_reports_an_error_in_one_line(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise ConnectionRefusedError("connection refused")

    app = make_app()
    backend = app.extensions["cache"].backend
    monkeypatch.setattr(backend, "errors", (ConnectionError,))
    monkeypatch.setattr(backend, "keys", fail)
    result = app.test_cli_runner().invoke(args=["cache", "clear"])
    assert result.exit_code == 1
    assert result.output == "Error: cache: connection refused\n"
