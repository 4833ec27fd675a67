import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.cache import files
from {{ cookiecutter.package_name }}.cache.files import FileBackend
from {{ cookiecutter.package_name }}.config import SettingsError

from .numbers import Numbers

PAST = -10


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    return FileBackend(f"file://{tmp_path}/a%20cache", 0)


def paths(backend: FileBackend) -> list[Path]:
    return [path for path in backend.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["file://relative/path", "file:relative", "file://", "file://[x"])
def test_a_path_that_is_none_is_refused_in_one_line(
    make_app: Callable[..., Flask], url: str
) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL"):
        make_app(CACHE_URL=url)


def test_values_are_kept_and_forgotten(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", 60)
    backend.set("a:value:1", b"2", 60)
    assert backend.get_many(["a:value:2", "a:value:1"]) == [None, b"2"]
    backend.delete(["a:value:1", "a:value:2"])
    assert backend.get_many(["a:value:1"]) == [None]
    assert not paths(backend)


def test_nobody_else_may_read_them(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", 60)
    assert [path.stat().st_mode & 0o777 for path in paths(backend)] == [0o600]
    assert paths(backend)[0].parent.stat().st_mode & 0o777 == 0o700


def test_a_value_ends(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", PAST)
    assert backend.get_many(["a:value:1"]) == [None]


def test_of_two_who_add_a_value_one_is_the_first(backend: FileBackend) -> None:
    assert backend.add("a:lock:1", b"1", 60)
    assert not backend.add("a:lock:1", b"2", 60)
    assert backend.get_many(["a:lock:1"]) == [b"1"]
    backend.set("a:lock:1", b"1", PAST)
    assert backend.add("a:lock:1", b"3", 60)
    assert backend.get_many(["a:lock:1"]) == [b"3"]
    assert len(paths(backend)) == 1


def test_what_has_expired_is_removed_from_time_to_time(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SWEEP", 10**9)
    backend.set("a:value:aa1", b"", PAST)
    backend.set("a:value:aa2", b"", 60)
    assert len(paths(backend)) == 2
    monkeypatch.setattr(files, "SWEEP", 1)
    backend.set("a:value:aa3", b"", 60)
    assert sorted(backend.keys("")) == ["a:value:aa2", "a:value:aa3"]


def test_what_an_older_release_left_is_removed_from_time_to_time(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SWEEP", 10**9)
    for release in range(3):
        backend.set(f"a:{release}:value:aa", b"", PAST)
    monkeypatch.setattr(files, "SWEEP", 1)
    for _ in range(200):
        backend.set("a:9:value:aa", b"", 60)
    assert [*backend.keys("")] == ["a:9:value:aa"]


def test_keys_are_listed_by_their_prefix(backend: FileBackend) -> None:
    assert not [*backend.keys("")]
    for key in ("a:1:value:1", "a:2:tag:pens", "b:1:value:1"):
        backend.set(key, b"", 60)
    # What is being written is no value yet.
    paths(backend)[0].with_name("half.new").touch()
    assert sorted(backend.keys("a:")) == ["a:1:value:1", "a:2:tag:pens"]


def test_how_full_it_is_is_shown(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    app = make_app(CACHE_URL=f"file://{tmp_path}")
    Numbers(app.extensions["cache"]).get()
    output = app.test_cli_runner().invoke(args=["cache", "stats"]).output
    assert str(tmp_path) in output
    assert "bytes" in output


def test_processes_share_what_is_kept(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    mine, theirs = (
        Numbers(make_app(CACHE_URL=f"file://{tmp_path}").extensions["cache"], ["pens"])
        for _ in range(2)
    )
    assert [mine.get(), theirs.get()] == [1, 1]
    theirs.store.forget("pens")
    assert [mine.get(), theirs.get()] == [2, 2]


def test_without_the_directory_requests_are_answered_all_the_same(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    app = make_app(CACHE_URL=f"file://{obstacle}/cache")
    numbers = Numbers(app.extensions["cache"], ["pens"])
    assert [numbers.get() for _ in range(2)] == [1, 2]
    assert app.test_client().get("/health/ready").get_json()["status"] == "degraded"
    obstacle.unlink()
    assert [numbers.get() for _ in range(2)] == [3, 3]
    assert app.test_client().get("/health/ready").get_json()["status"] == "ok"


def test_a_directory_that_is_not_ours_to_write_to_is_told(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root all directories are.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="a cache"):
        backend.ping()


def test_a_full_disk_is_not_filled_with_what_could_not_be_written(
    backend: FileBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", fail)
    with pytest.raises(OSError, match="No space left"):
        backend.set("a:value:1", b"1", 60)
    assert not paths(backend)
