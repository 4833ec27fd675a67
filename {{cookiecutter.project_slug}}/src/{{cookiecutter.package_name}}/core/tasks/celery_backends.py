"""Celery: result backends in which a late state does not replace a final one."""

from typing import Any

from celery import Celery, states
from celery.app.backends import by_url
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import ImproperlyConfigured

from ...config import URL_ERRORS

# State of a job that was sent. It replaces the final state of a failed job that is sent again.
SENT = "SENT"

# Raised for a URL that is malformed or names an unknown transport or result backend.
CELERY_URL_ERRORS = (ImproperlyConfigured, *URL_ERRORS)


def is_late(backend: KeyValueStoreBackend, key: bytes, old: bytes | None, new: str | bytes) -> bool:
    """Return whether a state must not replace the old one.

    Celery 5.7.0 reads the old state and then retries the write until it succeeds. If the server was
    unreachable meanwhile, the next attempt of the job may have finished.
    """
    if old is None or not key.startswith(backend.task_keyprefix):
        return False
    state = backend.decode(old)["status"]
    if state == states.SUCCESS:
        return True
    return state in states.READY_STATES and (
        backend.decode(new)["status"] not in states.READY_STATES | {SENT}
    )


def locate(backend: type[KeyValueStoreBackend], url: str) -> str:
    """Return the value of the setting `result_backend` for one of these classes."""
    return f"{backend.__module__}:{backend.__name__}+{url}"


def validate(conf: dict[str, Any]) -> dict[str, Any]:
    """Return settings of Celery for a broker or a result backend, if Celery can use them.

    Otherwise raise one of `CELERY_URL_ERRORS`. This does not connect.
    """
    celery = Celery(set_as_current=False)
    celery.conf.update(conf)
    celery.connection_for_write()
    backend, url = by_url(celery.conf.result_backend, celery.loader)
    backend(app=celery, url=url)
    return conf
