from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache.store import Store

from .numbers import Numbers


def run(app: Flask, command: str) -> str:
    result = app.test_cli_runner().invoke(args=["cache", command])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_in_it_is_shown(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    store: Store = app.extensions["cache"]
    Numbers(store, ["pens", "ink"]).get()
    lines = [line.split() for line in run(app, "stats").splitlines()]
    assert ["prefix", store.prefix] in lines
    assert ["values", "1"] in lines
    assert ["tags", "2"] in lines
    assert len(lines) > 3


def test_only_what_has_our_prefix_is_forgotten(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    config: dict[str, Any] = app.config
    mine: Store = app.extensions["cache"]
    older = Store(mine.backend, config | {"CACHE_VERSION": "0"})
    # Its prefix begins as ours does.
    theirs = Store(mine.backend, config | {"CACHE_PREFIX": f"{config['CACHE_PREFIX']}2"})
    for store in (mine, older, theirs):
        Numbers(store).get()
    assert run(app, "clear") == "Forgot 2 keys.\n"
    assert not [*mine.backend.keys(mine.prefix)]
    assert [*theirs.backend.keys(theirs.prefix)]
    assert run(app, "clear") == "Forgot 0 keys.\n"


@pytest.mark.parametrize(("written", "forgotten"), [(1, 2), (1000, 5)])
def test_what_is_written_meanwhile_is_forgotten_too_but_not_for_ever(
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    written: int,
    forgotten: int,
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
    assert run(app, "clear") == f"Forgot {forgotten} keys.\n"


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_an_error_is_told_in_one_line(
    make_app: Callable[..., Flask],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    def fail(_: str) -> None:
        raise ConnectionRefusedError("nobody is there")

    app = make_app()
    backend = app.extensions["cache"].backend
    monkeypatch.setattr(backend, "errors", (ConnectionError,))
    monkeypatch.setattr(backend, "keys", fail)
    result = app.test_cli_runner().invoke(args=["cache", command])
    assert result.exit_code == 1
    assert result.output == "Error: the cache: nobody is there\n"
