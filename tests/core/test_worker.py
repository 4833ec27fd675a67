from contextvars import Context
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = "{{ cookiecutter.package_name }}"


def test_command_imports_the_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_TESTING", "true")
    # {% if cookiecutter.__celery %}
    # As Celery's command sets it.
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://localhost")
    module = Context().run(import_module, f"{PACKAGE}.worker")
    assert module.app.conf.beat_scheduler.startswith(f"{PACKAGE}.core")
    # {% endif %}
    # {% if cookiecutter.task_queue == "rq-redis" %}
    with pytest.raises(SystemExit, match="without BROKER_URL"):
        Context().run(import_module, f"{PACKAGE}.worker")
    # {% endif %}
