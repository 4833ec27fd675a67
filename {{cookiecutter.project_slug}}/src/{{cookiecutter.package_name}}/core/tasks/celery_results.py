"""Celery: the result backend that RESULT_URL names, and its settings."""

import fcntl
import os
import ssl
from pathlib import Path
from secrets import token_hex
from typing import Any

from celery import states
from celery.backends.base import KeyValueStoreBackend
from celery.backends.filesystem import FilesystemBackend
from kombu.utils.encoding import ensure_bytes

from ...config import Settings, register_client, take_client
from ..service_urls import split_server_url
from .celery_backends import CELERY_URL_ERRORS, SENT, locate, validate
from .jobs import EAGER_SCHEME

URL_FORM = (
    "file:///path of a writable folder, or the URL of another result backend of Celery"
    " (with RESULT_CA_FILE: rediss://…)"
)


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


class FolderResults(FilesystemBackend):  # type: ignore[misc]
    """Folder whose files are replaced atomically, so that no reader gets half a file."""

    def set(self, key: bytes, value: str | bytes) -> None:
        """Store a state unless it is late. The cleanup deletes files of killed writers."""
        # Private: the path of the file that Celery reads.
        file = Path(os.fsdecode(self._filename(key)))
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if is_late(self, key, self.get(key), value):
                return
            new = file.with_name(f"{file.name}.{token_hex(8)}")
            new.write_bytes(ensure_bytes(value))
            new.replace(file)
        finally:
            os.close(folder)


def create_conf(_name: str, settings: Settings) -> dict[str, Any]:
    """Return Celery's settings for RESULT_URL, which eager jobs do not need."""
    eager = f"{EAGER_SCHEME}:"
    is_eager = settings.RESULT_URL.startswith(eager) or settings.BROKER_URL.startswith(eager)
    if is_eager and not settings.BROKER_URL.startswith("amqp"):
        return {}
    return validate(result_settings(settings))


register_client(create_conf, "RESULT_URL", expected=URL_FORM, errors=CELERY_URL_ERRORS)


def take_conf(settings: Settings) -> dict[str, Any]:
    """Return Celery's settings for RESULT_URL, which was validated when the settings were read."""
    conf: dict[str, Any] = take_client("RESULT_URL", settings)
    return conf


def result_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings for RESULT_URL; TLS certificates of Redis are verified."""
    url, ca_file = settings.RESULT_URL, settings.RESULT_CA_FILE
    scheme, _, folder = url.partition("://")
    if ca_file and scheme != "rediss":
        raise ValueError(url)
    if scheme in {"redis", "rediss"}:
        split_server_url(url)
        # It imports the client library of Redis, which only such a project has.
        from .celery_redis_results import RedisResults

        url = locate(RedisResults, url)
    tls: dict[str, Any] = {}
    if scheme == "rediss":
        tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": ca_file or None}
    if scheme == "file":
        if not os.access(folder, os.W_OK):
            raise ValueError(folder)
        url = locate(FolderResults, url)
    return {"result_backend": url, "redis_backend_use_ssl": tls}
