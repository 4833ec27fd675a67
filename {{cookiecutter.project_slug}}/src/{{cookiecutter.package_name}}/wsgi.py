"""What a WSGI server loads: the only application that exists at module level."""

from . import create_app

app = create_app()
