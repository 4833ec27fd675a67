"""Bearer tokens (RFC 6750): JSON Web Tokens of an issuer (RFC 9068), verified by its keys."""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

import click
from flask import Flask
from flask.cli import with_appcontext
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from ...config import Settings, SettingsError, get_settings
from ...permissions import PERMISSIONS, ROLES, permissions_of
from . import audit
from .bearer import get_bearer_token, invalid_token, unauthorized
from .claims import get_roles
from .identity import MAX_ID_LENGTH, Identity
from .jwks import KeySetCache

# Errors for tokens that are malformed, forged or expired, or whose algorithm is not allowed.
TOKEN_ERRORS = (JoseError, ValueError)

MAX_TOKEN_LENGTH = 8192

# The value of JWT_JWKS_URL for tokens of `flask create-token`.
DEVELOPMENT = "development:"
DEVELOPMENT_ALGORITHM = "HS256"
DEVELOPMENT_TOKEN_TTL = 24 * 3600


class JWTProvider:
    """Identities from tokens in the header `Authorization`."""

    security_schemes: ClassVar = {"bearer": {"type": "http", "scheme": "bearer"}}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.algorithms: list[str] = [*settings.JWT_ALGORITHMS]
        self.find_key: Callable[[Any], Any] = KeySetCache(settings.JWT_JWKS_URL).find_key
        if settings.JWT_JWKS_URL == DEVELOPMENT:
            key = development_key(settings)
            self.algorithms = [DEVELOPMENT_ALGORITHM]
            self.find_key = lambda _: key
        self.registry = jwt.JWTClaimsRegistry(
            now=lambda: int(time.time()),
            leeway=settings.JWT_LEEWAY,
            iss={"essential": True, "value": settings.JWT_ISSUER},
            aud={"essential": True, "value": settings.JWT_AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
        )

    def load(self) -> Identity | None:
        """Return the identity of the request's token; raise `Unauthorized` if it is not valid."""
        token = get_bearer_token()
        if token is None:
            return None
        try:
            return self.to_identity(self.decode(token))
        except TOKEN_ERRORS as error:
            audit.record("token_rejected", reason=type(error).__name__)
            raise invalid_token() from None

    def decode(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token; raise one of `TOKEN_ERRORS` if it is not valid."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("too long")
        claims = jwt.decode(token, self.find_key, algorithms=self.algorithms).claims
        # `decode` itself checks the signature only.
        self.registry.validate(claims)
        return claims

    def to_identity(self, claims: Mapping[str, Any]) -> Identity:
        """Return the identity in valid claims: a scope is a permission, a role has several.

        Raise `ValueError` for a subject with characters that no column stores.
        """
        scopes = str(claims.get("scope", "")).split()
        roles = get_roles(claims, self.settings.JWT_ROLES_CLAIM)
        permissions = PERMISSIONS.intersection(scopes) | permissions_of(roles)
        subject = str(claims["sub"])
        if len(subject) > MAX_ID_LENGTH or not subject.isprintable():
            raise ValueError("subject")
        name = claims.get("preferred_username") or claims.get("client_id") or subject
        return Identity(subject, str(name), permissions)

    def challenge(self) -> NoReturn:
        """Respond with 401."""
        raise unauthorized("Send `Authorization: Bearer …`.")


def init_app(app: Flask) -> None:
    """Verify tokens of JWT_ISSUER."""
    settings = get_settings(app)
    if settings.JWT_JWKS_URL == DEVELOPMENT:
        if not app.debug and not app.testing:
            raise SettingsError("JWT_JWKS_URL: development: is for development only")
        app.cli.add_command(create_token)
    app.extensions["auth"] = JWTProvider(settings)


def development_key(settings: Settings) -> OctKey:
    """Return the key of tokens for development."""
    return OctKey.import_key(settings.SECRET_KEY)


def encode_development_token(settings: Settings, roles: list[str]) -> str:
    """Return a token with roles, which is valid in debug and testing mode."""
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": "developer",
        "exp": int(time.time()) + DEVELOPMENT_TOKEN_TTL,
        settings.JWT_ROLES_CLAIM: roles,
    }
    header = {"alg": DEVELOPMENT_ALGORITHM}
    return jwt.encode(header, claims, development_key(settings))


@click.command()
@click.option("--role", "roles", multiple=True, type=click.Choice([*ROLES]), help="A role.")
@with_appcontext
def create_token(roles: tuple[str, ...]) -> None:
    """Print a bearer token for development."""
    click.echo(encode_development_token(get_settings(), [*roles]))
