"""Takes the place of a project's package, so that the same server with the same settings serves another application."""

from pkgutil import extend_path

# The project's own modules follow: its settings are read by its server.
__path__ = extend_path(__path__, __name__)
