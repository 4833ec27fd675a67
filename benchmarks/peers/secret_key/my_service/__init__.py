"""A replacement for the project's package: the same server and settings, another application."""

from pkgutil import extend_path

from flask import Flask

# The project's modules stay importable, because the server's configuration reads the settings.
__path__ = extend_path(__path__, __name__)


def create_app(_: object = None) -> Flask:
    """Return an application without routes; the servers' configuration checks it at the start."""
    return Flask(__name__)
