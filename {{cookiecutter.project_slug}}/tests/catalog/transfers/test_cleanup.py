from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from {{ cookiecutter.package_name }}.catalog.transfers import cleanup, storage
from {{ cookiecutter.package_name }}.catalog.transfers.models import Chunk, File
from {{ cookiecutter.package_name }}.database import get_session
from {{ cookiecutter.package_name }}.database.types import now


def add_files(count: int, days: int) -> None:
    """Add files of an age."""
    for _ in range(count):
        file = storage.create("import")
        file.created_at = now() - timedelta(days=days)
        writer = storage.Writer(file.id)
        writer.write(b"sku")
        writer.close()
    get_session().commit()


def count(model: type[File | Chunk]) -> int:
    """Count what is left."""
    return get_session().scalar(select(func.count()).select_from(model)) or 0


def test_old_files_are_removed_in_batches(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(cleanup, "report", told.append)
    with app.app_context():
        add_files(2 * cleanup.BATCH + 1, days=8)
        add_files(3, days=6)
        assert cleanup.remove_old_files() == 2 * cleanup.BATCH + 1
        assert (count(File), count(Chunk)) == (3, 3)
        assert cleanup.remove_old_files() == 0
    assert told == [cleanup.BATCH, 2 * cleanup.BATCH, 2 * cleanup.BATCH + 1]


def test_a_night_s_work_is_bounded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 2)
    monkeypatch.setattr(cleanup, "BATCHES", 2)
    with app.app_context():
        add_files(5, days=8)
        assert cleanup.remove_old_files() == 4
        assert count(File) == 1
        assert cleanup.remove_old_files() == 1


def test_it_runs_every_night() -> None:
    assert cleanup.remove_old_files.cron == "17 3 * * *"
