import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core import health
from {{ cookiecutter.package_name }}.core.cache import filesystem
from {{ cookiecutter.package_name }}.core.cache.filesystem import FileBackend

from .counter import CachedCounter

PAST = -10


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    return FileBackend(f"file://{tmp_path}/a%20cache", 0)


def paths(backend: FileBackend) -> list[Path]:
    return [path for path in backend.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["file://relative/path", "file:relative", "file://", "file://[x"])
def test_malformed_path_is_rejected(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL"):
        make_app(CACHE_URL=url)


def test_values_are_stored_and_deleted(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", 60)
    backend.set("a:value:1", b"2", 60)
    assert backend.get_many(["a:value:2", "a:value:1"]) == [None, b"2"]
    backend.delete(["a:value:1", "a:value:2"])
    assert backend.get_many(["a:value:1"]) == [None]
    assert not paths(backend)


def test_files_are_readable_by_their_owner_only(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", 60)
    assert [path.stat().st_mode & 0o777 for path in paths(backend)] == [0o600]
    assert paths(backend)[0].parent.stat().st_mode & 0o777 == 0o700


def test_values_expire(backend: FileBackend) -> None:
    backend.set("a:value:1", b"1", PAST)
    assert backend.get_many(["a:value:1"]) == [None]


def test_add_stores_only_the_first_value(backend: FileBackend) -> None:
    assert backend.add("a:lock:1", b"1", 60)
    assert not backend.add("a:lock:1", b"2", 60)
    assert backend.get_many(["a:lock:1"]) == [b"1"]
    backend.set("a:lock:1", b"1", PAST)
    assert backend.add("a:lock:1", b"3", 60)
    assert backend.get_many(["a:lock:1"]) == [b"3"]
    assert len(paths(backend)) == 1


def test_expired_files_are_deleted(backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "WRITES_PER_SWEEP", 10**9)
    backend.set("a:value:aa1", b"", PAST)
    backend.set("a:value:aa2", b"", 60)
    assert len(paths(backend)) == 2
    monkeypatch.setattr(filesystem, "WRITES_PER_SWEEP", 1)
    backend.set("a:value:aa3", b"", 60)
    assert sorted(backend.keys("")) == ["a:value:aa2", "a:value:aa3"]


def test_expired_files_of_older_releases_are_deleted(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "WRITES_PER_SWEEP", 10**9)
    for release in range(3):
        backend.set(f"a:{release}:value:aa", b"", PAST)
    monkeypatch.setattr(filesystem, "WRITES_PER_SWEEP", 1)
    for _ in range(200):
        backend.set("a:9:value:aa", b"", 60)
    assert [*backend.keys("")] == ["a:9:value:aa"]


def test_directories_have_a_maximum_size(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "WRITES_PER_SWEEP", 1)
    monkeypatch.setattr(filesystem, "MAX_FOLDER_BYTES", 3 * 8192)
    for number in range(40):
        backend.set(f"a:value:aa{number}", b"x" * 8000, 60 + number)
    assert sorted(backend.keys("")) == [f"a:value:aa{number}" for number in (37, 38, 39)]


def test_full_disk_is_reported(backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.ping()
    monkeypatch.setattr(health, "MIN_FREE_BYTES", 2**63)
    with pytest.raises(OSError, match="bytes are free"):
        backend.ping()


def test_keys_are_listed_by_their_prefix(backend: FileBackend) -> None:
    assert not [*backend.keys("")]
    for key in ("a:1:value:1", "a:2:tag:pens", "b:1:value:1"):
        backend.set(key, b"", 60)
    # An incomplete file is not a value.
    paths(backend)[0].with_name("half.new").touch()
    assert sorted(backend.keys("a:")) == ["a:1:value:1", "a:2:tag:pens"]


def test_processes_share_values(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    first, second = (
        CachedCounter(make_app(CACHE_URL=f"file://{tmp_path}").extensions["cache"], ["pens"])
        for _ in range(2)
    )
    assert [first.get(), second.get()] == [1, 1]
    second.store.invalidate("pens")
    assert [first.get(), second.get()] == [2, 2]


def test_missing_directory_makes_the_application_degraded(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    app = make_app(CACHE_URL=f"file://{obstacle}/cache")
    counter = CachedCounter(app.extensions["cache"], ["pens"])
    assert [counter.get() for _ in range(2)] == [1, 2]
    assert app.test_client().get("/health/ready").get_json()["status"] == "degraded"
    obstacle.unlink()
    assert [counter.get() for _ in range(2)] == [3, 3]
    assert app.test_client().get("/health/ready").get_json()["status"] == "ok"


def test_read_only_directory_is_reported(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For root every directory is writable.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="a cache"):
        backend.ping()


def test_incomplete_file_is_deleted_when_the_disk_is_full(
    backend: FileBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", fail)
    with pytest.raises(OSError, match="No space left"):
        backend.set("a:value:1", b"1", 60)
    assert not paths(backend)
