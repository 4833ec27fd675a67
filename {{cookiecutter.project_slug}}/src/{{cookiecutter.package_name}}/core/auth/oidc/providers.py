"""Identity providers: discovery, authorization codes with PKCE, ID tokens, logout."""

import time
from collections.abc import Mapping
from typing import Any

import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask
from joserfc.errors import BadSignatureError, JoseError
from werkzeug.exceptions import ServiceUnavailable

from ....config import OIDCProvider
from ..claims import get_roles

# Signature algorithms that are allowed, if the provider offers them: `none` and those with a
# shared secret are not.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
# Seconds by which the clocks of the provider and of this service may differ.
LEEWAY = 30
# Seconds after which the provider's metadata and keys are read again.
METADATA_TTL = 3600
# Seconds without another request after the provider was unavailable.
RETRY_AFTER = 5

# Errors of the connection, of a status, and of JSON.
UNAVAILABLE_ERRORS = (OSError, AttributeError, LookupError, TypeError, ValueError)
# Errors of a code and of an ID token.
LOGIN_ERRORS = (OAuthError, JoseError)


class LoginError(Exception):
    """A login that the provider rejected, or whose response is not valid."""


class Provider:
    """A provider with its metadata, which is read on first use."""

    def __init__(self, app: Flask, name: str, settings: OIDCProvider, timeout: float) -> None:
        self.name = name
        self.settings = settings
        self.title = settings.title or name.capitalize()
        self.issuer = settings.issuer.rstrip("/")
        self.timeout = timeout
        self.flask_app = app
        self.client: Any = None
        self.loaded_at = self.unavailable_until = float("-inf")

    def create_client(self) -> Any:
        """Return a client of Authlib with the provider's current metadata."""
        client = OAuth(self.flask_app).register(
            self.name,
            client_id=self.settings.client_id,
            client_secret=self.settings.client_secret or None,
            server_metadata_url=f"{self.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": self.settings.scopes,
                "code_challenge_method": "S256",
                "default_timeout": self.timeout,
                # A public client has no secret.
                "token_endpoint_auth_method": "client_secret_basic"
                if self.settings.client_secret
                else "none",
            },
        )
        metadata = client.load_server_metadata()
        if metadata["issuer"].rstrip("/") != self.issuer:
            raise ValueError(f"the metadata is of another issuer: {metadata['issuer']}")
        offered = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        metadata["id_token_signing_alg_values_supported"] = [
            name for name in ALGORITHMS if name in offered
        ]
        return client

    def get_client(self) -> Any:
        """Return the client; respond with 503 if the provider is unavailable on first use."""
        now = time.monotonic()
        if now - self.loaded_at > METADATA_TTL:
            if now < self.unavailable_until:
                raise self.unavailable()
            try:
                self.client = self.create_client()
                self.loaded_at = now
            except UNAVAILABLE_ERRORS as error:
                # Metadata that was read before is better than none.
                if self.client is None:
                    raise self.record_failure(error) from None
                self.loaded_at = now - METADATA_TTL + RETRY_AFTER
                self.record_failure(error)
        return self.client

    def record_failure(self, error: Exception) -> ServiceUnavailable:
        """Log that the provider is unavailable; return the exception for 503."""
        self.unavailable_until = time.monotonic() + RETRY_AFTER
        # The messages of some errors contain URLs with a code.
        structlog.get_logger().error(
            "identity provider unavailable", issuer=self.issuer, error=type(error).__name__
        )
        return self.unavailable()

    def unavailable(self) -> ServiceUnavailable:
        """Return the exception for 503."""
        return ServiceUnavailable(f"{self.title} is unavailable.", retry_after=RETRY_AFTER)

    def create_authorization_url(self, redirect_uri: str, *, fresh: bool) -> dict[str, str]:
        """Return the URL where users log in, and its state, nonce and code verifier.

        With `fresh` the provider asks for a credential even if the user is logged in there.
        """
        options = {"prompt": "login", "max_age": 0} if fresh else {}
        client = self.get_client()
        result: dict[str, str] = client.create_authorization_url(redirect_uri, **options)
        return result

    def fetch_claims(
        self, code: str, redirect_uri: str, nonce: str, verifier: str, fresh_after: int
    ) -> tuple[dict[str, Any], str]:
        """Return the claims of the user for a code, and the ID token.

        If `fresh_after` is not 0, the user must have entered a credential after this time.

        Raise `LoginError` if the code or the ID token is not valid; respond with 503 if the
        provider is unavailable.
        """
        client = self.get_client()
        try:
            token = client.fetch_access_token(
                redirect_uri=redirect_uri, code=code, code_verifier=verifier
            )
            claims = self.parse_id_token(client, token, nonce)
            if fresh_after and get_auth_time(claims) < fresh_after - LEEWAY:
                raise LoginError("login_not_fresh")
            claims = self.add_userinfo(client, token, claims)
        except LOGIN_ERRORS as error:
            raise LoginError(error.error) from None
        except UNAVAILABLE_ERRORS as error:
            raise self.record_failure(error) from None
        self.require_claims(claims)
        return claims, token["id_token"]

    def parse_id_token(self, client: Any, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token; raise `JoseError` if it is not valid."""
        options = {
            "iss": {"essential": True, "value": client.server_metadata["issuer"]},
            # Authlib itself accepts another audience if the claim `azp` names this client.
            "aud": {"essential": True, "value": self.settings.client_id},
        }
        if "id_token" not in token:
            raise LoginError("id_token_missing")
        arguments = {"nonce": nonce, "claims_options": options, "leeway": LEEWAY}
        try:
            claims = client.parse_id_token(token, **arguments)
        except BadSignatureError:
            # Authlib fetches the keys again for an unknown key ID only: a new key may have none,
            # or the ID of the former one.
            client.fetch_jwk_set(force=True)
            claims = client.parse_id_token(token, **arguments)
        return dict(claims)

    def add_userinfo(
        self, client: Any, token: Mapping[str, Any], claims: dict[str, Any]
    ) -> dict[str, Any]:
        """Add the claims of the userinfo endpoint if the ID token has no roles."""
        has_roles = get_roles(claims, self.settings.roles_claim)
        if has_roles or "userinfo_endpoint" not in client.server_metadata:
            return claims
        userinfo = client.userinfo(token=token)
        # Section 5.3.2 of OpenID Connect Core: otherwise the response must not be used.
        if userinfo.get("sub") != claims["sub"]:
            raise LoginError("userinfo_of_another_user")
        return {**userinfo, "auth_time": None, **claims}

    def require_claims(self, claims: Mapping[str, Any]) -> None:
        """Raise `LoginError` if a claim lacks the value that the settings require."""
        for name, value in self.settings.required_claims.items():
            if value not in get_roles(claims, name):
                raise LoginError("required_claim_missing")

    def get_roles(self, claims: Mapping[str, Any]) -> list[str]:
        """Return the roles of this service for the values of the roles claim."""
        values = get_roles(claims, self.settings.roles_claim)
        roles = self.settings.roles
        return sorted({roles[value] for value in values if value in roles} if roles else {*values})

    def create_logout_url(self, redirect_uri: str, id_token: str) -> str:
        """Return the URL that ends the session at the provider; "" if it has none."""
        try:
            client = self.get_client()
        except ServiceUnavailable:
            return ""
        if "end_session_endpoint" not in client.server_metadata:
            return ""
        result: dict[str, str] = client.create_logout_url(
            post_logout_redirect_uri=redirect_uri,
            id_token_hint=id_token or None,
            client_id=self.settings.client_id,
        )
        return result["url"]


def get_auth_time(claims: Mapping[str, Any]) -> int:
    """Return when the user entered a credential; 0 if the provider does not say it.

    An unexpected value, or one in the future, does not prolong anything.
    """
    value = claims.get("auth_time")
    return min(int(value), int(time.time())) if isinstance(value, int | float) else 0
