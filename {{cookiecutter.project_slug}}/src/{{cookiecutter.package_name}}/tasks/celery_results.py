"""Celery: states and results in a folder, and their end where no server makes one."""

import os
from pathlib import Path
from secrets import token_hex

from celery.backends.filesystem import FilesystemBackend
from flask import current_app
from kombu.utils.encoding import ensure_bytes

from ..config import SettingsError
from .jobs import LOW, job


class FolderBackend(FilesystemBackend):  # type: ignore[misc]
    """A folder whose files are replaced, so that nobody reads one that is not written yet."""

    def set(self, key: bytes, value: str | bytes) -> None:
        """Write a file; what is left of one when its writer is killed is removed when it is old."""
        file = Path(os.fsdecode(self._filename(key)))
        new = file.with_name(f"{file.name}.{token_hex(8)}")
        new.write_bytes(ensure_bytes(value))
        new.replace(file)


def locate(url: str) -> str:
    """Say as Celery does which class stores where."""
    scheme, _, folder = url.partition("://")
    if scheme != "file":
        return url
    if not os.access(folder, os.W_OK):
        raise SettingsError([f"RESULT_URL: {folder} is no folder that we may write to"])
    return f"{FolderBackend.__module__}:{FolderBackend.__name__}+{url}"


@job(queue=LOW, cron="0 4 * * *")
def remove_old_results() -> None:
    """Remove states and results after JOB_RESULT_TTL, where their place does not do so itself."""
    current_app.extensions["celery"].backend.cleanup()
