"""Whether a client prefers pages to JSON."""

from flask import request

# In the order for clients that accept all of them.
MEDIA_TYPES = ["application/problem+json", "application/json", "text/html"]


def prefers_html() -> bool:
    """Return whether the `Accept` header of the request prefers HTML, as those of browsers do."""
    return request.accept_mimetypes.best_match(MEDIA_TYPES) == "text/html"
