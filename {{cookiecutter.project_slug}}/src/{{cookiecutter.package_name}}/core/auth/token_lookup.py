"""The session or API token of a request: from the cache if the project has one, else by a query."""

from collections.abc import Callable
from typing import Any

from flask import g

# {% if cookiecutter.__identity_cache %}
from . import identity_cache
# {% endif %}
from .identity import get_identity
from .stored_tokens import has_expired


def load(token: str, model: type, read: Callable[[str], Any]) -> Any:
    """Return what a token stands for, or None; `read` gets it from the database as a `model`."""
    # {% if cookiecutter.__identity_cache %}
    return identity_cache.load(token, model, lambda: read(token))
    # {% else %}
    return read(token)
    # {% endif %}


def load_session(token: str, model: type, read: Callable[[str], Any]) -> Any:
    """Return the session of a token, which `find_session` returns later; None if it has ended."""
    current = load(token, model, read)
    if current is None or has_expired(current.created_at, current.seen_at):
        return None
    g.user_session = current
    return current


def find_session() -> Any:
    """Return the session of the request; None if it has none, or a token instead."""
    get_identity()
    return g.get("user_session")
