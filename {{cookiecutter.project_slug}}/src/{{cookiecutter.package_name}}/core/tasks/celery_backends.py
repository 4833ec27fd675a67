"""Celery: what its result backends have in common, and the check of their URLs."""

from typing import Any

from celery import Celery
from celery.app.backends import by_url
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import ImproperlyConfigured

from ...config import URL_ERRORS

# State of a job that was sent. It replaces the final state of a failed job that is sent again.
SENT = "SENT"

# Raised for a URL that is malformed or names an unknown transport or result backend.
CELERY_URL_ERRORS = (ImproperlyConfigured, *URL_ERRORS)


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
