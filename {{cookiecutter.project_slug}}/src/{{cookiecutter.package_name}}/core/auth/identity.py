"""The identity of a request: who sends it, and which permissions they have."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, Protocol

from flask import current_app, g
from msgspec import Struct
from structlog.contextvars import get_contextvars

# The longest ID of an identity: of a claim `sub`, which issuers choose.
MAX_ID_LENGTH = 255

NOT_LOADED = object()


class Identity(Struct, frozen=True):
    """A user or a client. `id` never changes; `name` is for people."""

    id: str
    name: str
    permissions: frozenset[str] = frozenset()


class Provider(Protocol):
    """What the module for each value of the option `auth` has.

    Identities come from cookies and from `Authorization`: other responses may be cached for all.
    """

    # For OpenAPI.
    security_schemes: ClassVar[dict[str, dict[str, str]]]

    def load(self) -> Identity | None:
        """Return the identity of the request; None if it names none.

        Raise `Unauthorized` if it has a token that is not valid.
        """

    # {% if cookiecutter.__login %}
    def get_authentication_time(self) -> float | None:
        """Return when the request's user entered a credential, in seconds since the epoch.

        None if that is unknown, or if the request is not of a browser.
        """

    def reauthenticate(self) -> NoReturn:
        """Respond to a request that needs a credential again."""

    # {% endif %}
    def challenge(self) -> NoReturn:
        """Respond to a request without an identity for a view that requires one."""


def get_provider() -> Provider:
    """Return the provider of the current application."""
    provider: Provider = current_app.extensions["auth"]
    return provider


def get_identity() -> Identity | None:
    """Return the identity of the request, which is loaded on first use; None if it is unknown."""
    found: Any = g.get("identity", NOT_LOADED)
    if found is NOT_LOADED:
        # Until it is loaded, queries of the provider are those of an unknown client.
        g.identity = None
        g.identity = found = get_provider().load()
    identity: Identity | None = found
    return identity


def get_actor() -> str | None:
    """Return the ID of the identity, or of the one for which a worker runs; None without one.

    It loads no identity: Flask has done so before a view that requires one or that may write.
    """
    identity: Identity | None = g.get("identity") if g else None
    return identity.id if identity else get_contextvars().get("actor") or None


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Run a block with another identity; None is an unknown client, who sees what is public.

    Values for the cache are computed this way, and a worker may act for a user.
    """
    if not g:
        yield
        return
    known = g.get("identity", NOT_LOADED)
    g.identity = identity
    try:
        yield
    finally:
        if known is NOT_LOADED:
            del g.identity
        else:
            g.identity = known
