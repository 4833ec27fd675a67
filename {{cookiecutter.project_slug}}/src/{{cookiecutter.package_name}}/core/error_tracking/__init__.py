"""Error reports to Sentry, or to a service with its protocol such as GlitchTip or Bugsink.

A log line of the level ERROR is an error report: the log is the only source, so nothing is reported
twice. An unexpected exception of a request has such a line; an HTTP error such as 404 has none.
# {% if cookiecutter.__tasks %}
A job has one when it failed for good, and not for attempts that will be repeated.
# {% endif %}
"""

import sys

from flask import Flask

from ...config import get_settings
from .. import logs


def init_app(app: Flask) -> None:
    """Report errors if SENTRY_DSN is set; otherwise the client is not even imported."""
    settings = get_settings(app)
    if settings.SENTRY_DSN:
        # Imported here: its import is expensive.
        from . import sentry

        processor = sentry.start(settings)
        logs.configure(settings.LOG_LEVEL, pretty=app.debug, processors=[processor])


def flush() -> None:
    """Send waiting reports now, for processes that end without `atexit`; it takes at most 2 s."""
    if client := sys.modules.get(f"{__name__}.sentry"):
        client.flush()
