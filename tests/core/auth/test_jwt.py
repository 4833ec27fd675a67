import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.access import requires
from {{ cookiecutter.package_name }}.core.auth import get_identity
from {{ cookiecutter.package_name }}.core.auth import jwt as auth_jwt

pytestmark = pytest.mark.usefixtures("real_identities")

Logs = Callable[[], list[dict[str, Any]]]

ISSUER, AUDIENCE = "https://issuer.example.com", "service"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "one"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "two"})
PUBLIC = {"keys": [KEY.as_dict(private=False), EC_KEY.as_dict(private=False)]}


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    values = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 60, **changed}
    return {name: value for name, value in values.items() if value is not None}


def encode(payload: dict[str, Any], key: Any = KEY, **header: Any) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, payload, key)


@pytest.fixture
def client(make_app: Callable[..., Flask], tmp_path: Path) -> FlaskClient:
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(PUBLIC), encoding="utf-8")
    app = make_app(JWT_ISSUER=ISSUER, JWT_AUDIENCE=AUDIENCE, JWT_JWKS_URL=keys.as_uri())

    @app.get("/me")
    @requires()
    def me() -> dict[str, Any]:
        identity = get_identity()
        assert identity
        return {
            "id": identity.id,
            "name": identity.name,
            "permissions": sorted(identity.permissions),
        }

    return app.test_client()


def get_me(client: FlaskClient, token: str, scheme: str = "Bearer") -> Any:
    return client.get("/me", headers={"Authorization": f"{scheme} {token}"})


def test_valid_token_gives_an_identity(client: FlaskClient) -> None:
    for scheme in ("Bearer", "bearer", "Bearer "):
        response = get_me(client, encode(claims()), scheme)
        assert response.json == {"id": "ada", "name": "ada", "permissions": []}
    assert "public" not in response.headers["Cache-Control"]


def test_token_may_name_another_key_and_algorithm(client: FlaskClient) -> None:
    assert get_me(client, encode(claims(), EC_KEY, alg="ES256")).status_code == 200


@pytest.mark.parametrize("subject", ["a" * 256, "a\x00", "a\n"])
def test_subject_that_databases_do_not_store_is_rejected(client: FlaskClient, subject: str) -> None:
    assert get_me(client, encode(claims(sub=subject))).status_code == 401
    assert get_me(client, encode(claims(sub="ä" * 255))).status_code == 200


def test_audience_may_be_one_of_several(client: FlaskClient) -> None:
    assert get_me(client, encode(claims(aud=["other", AUDIENCE]))).status_code == 200


def test_scopes_and_roles_give_permissions(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_jwt, "PERMISSIONS", frozenset({"notes:write", "notes:read"}))
    monkeypatch.setattr(
        auth_jwt, "permissions_of", lambda roles: frozenset(f"{r}:role" for r in roles)
    )
    token = encode(claims(scope="openid notes:write", roles=["author"], preferred_username="Ada"))
    response = get_me(client, token)
    assert response.json == {
        "id": "ada",
        "name": "Ada",
        "permissions": ["author:role", "notes:write"],
    }


def test_request_without_a_token_gets_a_challenge(client: FlaskClient) -> None:
    for headers in ({}, {"Authorization": "Basic dTpw"}):
        response = client.get("/me", headers=headers)
        assert response.status_code == 401
        challenge = response.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer realm=")
        assert "error" not in challenge


NOW = int(time.time())


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - 60},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": NOW + 3600},
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": None},
        {"aud": 5},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
    ],
    ids=str,
)
def test_invalid_claim_is_rejected(
    client: FlaskClient, changed: dict[str, Any], read_logs: Logs
) -> None:
    token = encode(claims(**changed))
    response = get_me(client, token)
    assert response.status_code == 401
    assert "error=invalid_token" in response.headers["WWW-Authenticate"]
    lines = read_logs()
    (event,) = [line for line in lines if line["event"] == "security event"]
    assert event["security_event"] == "token_rejected"
    assert token not in json.dumps(lines)


def test_clocks_may_differ_by_the_leeway(client: FlaskClient) -> None:
    assert get_me(client, encode(claims(exp=int(time.time()) - 10))).status_code == 200
    assert get_me(client, encode(claims(nbf=int(time.time()) + 10))).status_code == 200


def to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(algorithm: str) -> str:
    header = {"alg": algorithm, "kid": "one"}
    return ".".join(to_base64(json.dumps(part).encode()) for part in (header, claims()))


def signed_with_the_public_key() -> str:
    text = unsigned("HS256")
    signature = hmac.digest(KEY.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{to_base64(signature)}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é.b.c",
        "a" * 100_000,
        f"{unsigned('none')}.",
        signed_with_the_public_key(),
        encode(claims(), OTHER_KEY),
        encode(claims(), kid="unknown"),
        jwt.encode({"alg": "PS256", "kid": "one"}, claims(), KEY, algorithms=["PS256"]),
        encode(claims()) + "x",
        encode(claims()).rpartition(".")[0] + ".",
        f"{encode(claims())} {encode(claims())}",
    ],
    ids=range(13),
)
def test_forged_token_is_rejected(client: FlaskClient, token: str) -> None:
    assert get_me(client, token).status_code == 401


def test_invalid_token_does_not_matter_for_an_open_view(client: FlaskClient) -> None:
    response = client.get("/health/live", headers={"Authorization": "Bearer x"})
    assert response.status_code == 200


def test_development_token_is_accepted(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.add_url_rule("/me", view_func=requires()(lambda: "me"))
    result = app.test_cli_runner().invoke(args=["create-token"])
    assert result.exit_code == 0, result.exception
    token = result.output.strip()
    assert get_me(app.test_client(), token).status_code == 200
    assert get_me(app.test_client(), encode(claims())).status_code == 401


def test_development_tokens_are_rejected_in_production(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    app.testing = False
    with pytest.raises(SettingsError, match="JWT_JWKS_URL: development: is for"):
        auth_jwt.init_app(app)


def test_issuer_is_required_in_production() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"ALLOWED_HOSTS": "localhost"})
    for name in ("JWT_ISSUER", "JWT_AUDIENCE", "JWT_JWKS_URL"):
        assert f"{name} is missing" in str(raised.value)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256,HS512"])
def test_unsafe_algorithm_is_an_invalid_setting(algorithm: str) -> None:
    with pytest.raises(SettingsError, match="JWT_ALGORITHMS: expected"):
        create_app(load_settings({"FLASK_TESTING": "1", "JWT_ALGORITHMS": algorithm}))
