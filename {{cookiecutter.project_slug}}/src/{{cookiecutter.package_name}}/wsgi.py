"""The application for WSGI servers. No other application exists at module level."""

from . import create_app

app = create_app()
