"""CORS: front ends on other origins may call the API and read its responses."""

from flask import Flask, Response

from ..config import get_settings
from .security import normalize_origin

# Response headers that scripts may read. Some others are always readable.
EXPOSED_HEADERS = (
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)
# Seconds for which browsers store the response of a preflight request.
MAX_AGE = 600


def init_app(app: Flask) -> None:
    """Add the headers for the pages of CORS_ORIGINS; without origins do nothing.

    https://flask-cors.readthedocs.io
    """
    origins = get_settings(app).CORS_ORIGINS
    if not origins:
        return
    # Imported here: most services do not need it.
    from flask_cors import CORS

    CORS(
        app,
        origins=[normalize_origin(origin) for origin in origins],
        expose_headers=EXPOSED_HEADERS,
        max_age=MAX_AGE,
        # {% if cookiecutter.__login %}
        # The session is a cookie.
        supports_credentials=True,
        # {% endif %}
        # Otherwise a request without `Origin` would get the whole list.
        always_send=False,
        # Flask calls the function after the request for errors, too.
        intercept_exceptions=False,
        # It is missing for a single origin, and for origins that are not allowed.
        vary_header=False,
    )
    app.after_request(vary_by_origin)


def vary_by_origin(response: Response) -> Response:
    """Let caches store the responses for each origin, and for none, separately."""
    response.vary.add("Origin")
    return response
