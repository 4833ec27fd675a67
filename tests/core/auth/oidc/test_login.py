import base64
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from joserfc.jwk import RSAKey
from werkzeug.exceptions import ServiceUnavailable

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.auth import oidc
from {{ cookiecutter.package_name }}.core.auth.oidc import providers
from {{ cookiecutter.package_name }}.permissions import ROLES

ROLE = "tester"
PERMISSIONS = ["tests:run"]


@pytest.fixture(autouse=True)
def _role(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a role."""
    monkeypatch.setitem(ROLES, ROLE, frozenset(PERMISSIONS))


def test_login_starts_session(browser: Any) -> None:
    assert browser.whoami() == []
    response = browser.log_in(roles=[ROLE])
    assert (response.status_code, response.location) == (302, "/")
    assert response.headers["Cache-Control"] == "no-store"
    _, name, permissions = browser.whoami()
    assert (name, permissions) == ("Ada", PERMISSIONS)
    assert browser.get("/private").text == "private"


def test_login_is_recorded(browser: Any, read_logs: Callable[[], list[dict[str, Any]]]) -> None:
    browser.log_in()
    browser.get(browser.start(nonce="other"))
    browser.post("/logout")
    lines = [line for line in read_logs() if line["event"] == "security event"]
    events = [(line["security_event"], line.get("reason")) for line in lines]
    assert [event for event in events if event[0] != "user_registered"] == [
        ("login_succeeded", None),
        ("login_failed", "invalid_claim"),
        ("logout", None),
    ]
    assert "secret of the client" not in str(lines)


def test_cookie_is_bound_to_host(browser: Any) -> None:
    response = browser.get("/login/main")
    cookies = [*response.headers.getlist("Set-Cookie")]
    cookies += browser.get(browser.provider.authorize(response.location)).headers.getlist(
        "Set-Cookie"
    )
    assert len(cookies) == 3
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
            assert attribute in cookie
        assert "Domain" not in cookie


def test_browser_is_sent_to_login_and_back(browser: Any) -> None:
    response = browser.get("/private?a=1&b=2", headers={"Accept": "text/html"})
    assert response.location == "/login?next=/private?a%3D1%26b%3D2"
    response = browser.get(response.location)
    callback = browser.provider.authorize(browser.get(response.location).location)
    assert browser.get(callback).location == "/private?a=1&b=2"


def test_api_client_gets_401(browser: Any) -> None:
    response = browser.get("/private")
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"
    assert response.headers["WWW-Authenticate"].startswith("Session realm=")


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
    ],
)
def test_redirect_stays_on_this_site(browser: Any, target: str) -> None:
    response = browser.get("/login/main", query_string={"next": target})
    callback = browser.provider.authorize(response.location)
    assert browser.get(callback).location == "/"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "other"}, "invalid_claim"),
        ({"nonce": None}, "missing_claim"),
        ({"aud": "other"}, "invalid_claim"),
        ({"aud": "other", "azp": "service"}, "invalid_claim"),
        ({"aud": ["service", "other"], "azp": "other"}, "invalid_claim"),
        ({"iss": "https://evil.example"}, "invalid_claim"),
        ({"exp": 1}, "expired_token"),
        ({"exp": None}, "missing_claim"),
        ({"exp": int(time.time()) - 60, "iat": int(time.time()) - 120}, "expired_token"),
        ({"iat": int(time.time()) + 3600}, "invalid_claim"),
        ({"nbf": int(time.time()) + 3600}, "invalid_claim"),
        ({"sub": None}, "missing_claim"),
    ],
)
def test_wrong_claims_return_400(browser: Any, claims: dict[str, Any], reason: str) -> None:
    response = browser.log_in(**claims)
    assert response.status_code == 400
    assert f"({reason})" in response.get_json()["detail"]
    assert browser.whoami() == []


def test_clocks_may_differ(browser: Any) -> None:
    now = int(time.time())
    assert browser.log_in(exp=now - 20, iat=now + 20, nbf=now + 20).status_code == 302


def test_token_for_several_audiences_is_accepted(browser: Any) -> None:
    assert browser.log_in(aud=["service", "other"], azp="service").status_code == 302


def test_forged_signature_returns_400(browser: Any) -> None:
    browser.provider.signing_key = RSAKey.generate_key(2048, {"kid": "1"})
    assert "(bad_signature)" in browser.log_in().get_json()["detail"]


def test_unknown_key_returns_400(browser: Any) -> None:
    browser.provider.header = {"kid": "other"}
    assert "(invalid_key_id)" in browser.log_in().get_json()["detail"]


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_other_algorithm_returns_400(browser: Any, algorithm: str) -> None:
    """The public key as a shared secret, and no signature: the provider even offers both."""
    browser.provider.header = {"alg": algorithm}
    assert "(unsupported_algorithm)" in browser.log_in().get_json()["detail"]


@pytest.mark.parametrize("parameters", [{}, {"kid": "1"}, {"use": "sig"}])
def test_keys_are_rotated_without_restart(browser: Any, parameters: dict[str, str]) -> None:
    """A new key has another ID, or the same one, or none."""
    assert browser.log_in().status_code == 302
    browser.provider.rotate_key(**parameters)
    assert browser.log_in().status_code == 302
    assert browser.provider.requests.count("/jwks") == 2
    assert browser.log_in().status_code == 302
    assert browser.provider.requests.count("/jwks") == 2


def test_metadata_is_read_again(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib itself reads it once."""
    browser.log_in()
    browser.log_in()
    path = "/.well-known/openid-configuration"
    assert browser.provider.requests.count(path) == 1
    monkeypatch.setattr(providers, "METADATA_TTL", 0)
    browser.log_in()
    assert browser.provider.requests.count(path) > 1
    # The former metadata serves while the provider has none.
    browser.provider.metadata = {"issuer": "https://evil.example"}
    assert browser.log_in().status_code == 302


def test_metadata_of_another_issuer_returns_503(browser: Any) -> None:
    browser.provider.metadata = {"issuer": "https://evil.example"}
    response = browser.get("/login/main")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_code_is_valid_once(browser: Any) -> None:
    callback = browser.start()
    name, _, value = browser.started.partition(";")[0].partition("=")
    assert browser.get(callback).status_code == 302
    assert "(unknown_state)" in browser.get(callback).get_json()["detail"]
    browser.client.set_cookie(name, value, secure=True, domain="localhost")
    assert "(invalid_grant)" in browser.get(callback).get_json()["detail"]


def test_callback_of_another_browser_returns_400(browser: Any, make_browser: Any) -> None:
    """An attacker cannot log a user in as the attacker with a link (login CSRF)."""
    other = make_browser()
    response = other.get(browser.start())
    assert "(unknown_state)" in response.get_json()["detail"]
    assert other.whoami() == []


def test_expired_state_returns_400(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = browser.start()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 601)
    assert "(unknown_state)" in browser.get(callback).get_json()["detail"]


def test_code_of_another_login_returns_400(browser: Any) -> None:
    first, second = browser.start(), browser.start()
    code = dict(parse_qsl(urlsplit(first).query))["code"]
    state = dict(parse_qsl(urlsplit(second).query))["state"]
    response = browser.get(f"/login/main/callback?code={code}&state={state}")
    assert "(invalid_grant)" in response.get_json()["detail"]


def test_tabs_log_in_concurrently(browser: Any) -> None:
    first = browser.start("/login/main?next=/first")
    second = browser.start("/login/main?next=/second")
    assert browser.get(first).location == "/first"
    assert browser.get(second).location == "/second"


@pytest.mark.parametrize(
    ("error", "reason"),
    [("access_denied", "access_denied"), ("<script>", "unknown_error")],
)
def test_error_of_provider_returns_400(browser: Any, error: str, reason: str) -> None:
    state = dict(parse_qsl(urlsplit(browser.start()).query))["state"]
    query = {"error": error, "state": state}
    response = browser.get("/login/main/callback", query_string=query)
    assert response.status_code == 400
    assert f"({reason})" in response.get_json()["detail"]
    assert browser.get("/login/other/callback", query_string=query).status_code == 404


def test_stopped_provider_returns_503(make_browser: Any) -> None:
    """It accepts connections and does not respond; another request fails immediately."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        other = json.dumps({"slow": {"issuer": f"http://127.0.0.1:{port}", "client_id": "service"}})
        browser = make_browser(OIDC_PROVIDERS=other, OIDC_TIMEOUT="0.2")
        started = time.monotonic()
        assert browser.get("/login/slow").status_code == 503
        assert time.monotonic() - started < 2
        started = time.monotonic()
        assert browser.get("/login/slow").status_code == 503
        assert time.monotonic() - started < 0.15
        assert browser.log_in().status_code == 302


def test_provider_that_stops_during_login_returns_503(make_browser: Any) -> None:
    browser = make_browser(OIDC_TIMEOUT="0.2")
    callback = browser.start()
    browser.provider.delay = 1
    started = time.monotonic()
    response = browser.get(callback)
    assert response.status_code == 503
    assert time.monotonic() - started < 0.9
    assert browser.whoami() == []


def test_logged_in_user_needs_no_provider(browser: Any) -> None:
    browser.log_in()
    calls = len(browser.provider.requests)
    assert browser.get("/private").status_code == 200
    assert len(browser.provider.requests) == calls


def test_logout_ends_both_sessions(browser: Any) -> None:
    browser.log_in()
    response = browser.post("/logout")
    assert response.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert response.headers["Cache-Control"] == "no-store"
    # {% if cookiecutter.web_pages %}
    url = response.headers["Refresh"].removeprefix("0; url=")
    # {% else %}
    url = response.get_json()["logout_url"]
    # {% endif %}
    query = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith(f"{browser.provider.issuer}/logout?")
    assert query["post_logout_redirect_uri"] == "https://localhost/"
    assert query["client_id"] == "service"
    payload = query["id_token_hint"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"] == "ada"
    assert browser.whoami() == []
    assert browser.cookie == ""


def test_logout_works_without_provider(browser: Any) -> None:
    assert browser.post("/logout").status_code == 200
    browser.log_in()
    browser.provider.metadata = {"end_session_endpoint": None}
    assert browser.post("/logout").status_code == 200
    assert browser.whoami() == []


# {% if not cookiecutter.__cookie_only %}
def test_copy_of_cookie_is_not_valid_after_logout(browser: Any) -> None:
    browser.log_in()
    stolen = browser.cookie
    browser.post("/logout")
    browser.client.set_cookie("__Host-session", stolen, secure=True, domain="localhost")
    assert browser.whoami() == []
    assert browser.get("/private").status_code == 401


# {% endif %}
def test_login_replaces_session(browser: Any) -> None:
    """The session of an attacker is not the one after the login."""
    browser.log_in(sub="attacker")
    planted = browser.cookie
    attacker = browser.whoami()
    browser.log_in(sub="victim")
    assert browser.cookie != planted
    assert browser.whoami() != attacker
    # {% if not cookiecutter.__cookie_only %}
    browser.client.set_cookie("__Host-session", planted, secure=True, domain="localhost")
    assert browser.whoami() == []
    # {% endif %}


def test_roles_are_mapped(make_browser: Any) -> None:
    browser = make_browser(
        OIDC_ROLES=json.dumps({"company-role": ROLE}), OIDC_ROLES_CLAIM="realm_access.roles"
    )
    browser.log_in(realm_access={"roles": ["company-role", "other"]})
    assert browser.whoami()[2] == PERMISSIONS
    browser.log_in(realm_access={"roles": [ROLE]})
    assert browser.whoami()[2] == []


def test_roles_of_userinfo_are_used(browser: Any) -> None:
    browser.provider.metadata = {"userinfo_endpoint": f"{browser.provider.issuer}/userinfo"}
    browser.provider.userinfo = {"sub": "ada", "roles": [ROLE]}
    browser.log_in()
    assert browser.whoami()[2] == PERMISSIONS
    browser.provider.userinfo = {"sub": "eve", "roles": [ROLE]}
    assert "(userinfo_of_another_user)" in browser.log_in().get_json()["detail"]


def test_required_claim_is_checked(make_browser: Any) -> None:
    browser = make_browser(OIDC_REQUIRED_CLAIMS='{"hd": "example.com"}')
    assert browser.log_in(hd="example.com").status_code == 302
    for claims in ({}, {"hd": "evil.example"}):
        assert browser.log_in(**claims).status_code == 400


def test_several_providers_are_listed(make_browser: Any) -> None:
    other = json.dumps({"other": {"issuer": "https://other.example", "client_id": "service"}})
    browser = make_browser(OIDC_PROVIDERS=other, OIDC_TITLE="Company")
    response = browser.get("/login?next=/private")
    assert "/login/main?next=/private" in response.text
    assert "/login/other?next=/private" in response.text


def test_state_is_bound_to_provider(make_browser: Any, oidc_provider: Any) -> None:
    other = {
        "issuer": oidc_provider.issuer,
        "client_id": "service",
        "client_secret": "secret of the client",
    }
    browser = make_browser(OIDC_PROVIDERS=json.dumps({"other": other}))
    callback = browser.start("/login/main")
    response = browser.get(callback.replace("/main/", "/other/"))
    assert "(unknown_state)" in response.get_json()["detail"]


def test_subjects_of_providers_are_different_users(make_browser: Any, oidc_provider: Any) -> None:
    # {% if cookiecutter.__database %}
    other_issuer = f"{oidc_provider.issuer}/other"
    # {% else %}
    other_issuer = oidc_provider.issuer
    # {% endif %}
    other = {
        "issuer": other_issuer,
        "client_id": "service",
        "client_secret": "secret of the client",
    }
    browser = make_browser(OIDC_PROVIDERS=json.dumps({"other": other}))
    path = "/other/.well-known/openid-configuration"
    oidc_provider.app.add_url_rule(path, path, oidc_provider.discover)
    browser.log_in()
    first = browser.whoami()
    # {% if cookiecutter.__database %}
    oidc_provider.metadata = {"issuer": other_issuer}
    browser.log_in("/login/other", iss=other_issuer)
    # {% else %}
    browser.log_in("/login/other")
    # {% endif %}
    assert browser.whoami()[0] != first[0]


def test_development_needs_no_provider(app: Flask) -> None:
    client = app.test_client()
    response = client.get("/login", base_url="https://localhost", follow_redirects=True)
    assert response.status_code == 200
    assert client.get_cookie("__Host-session")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OIDC_ISSUER", "http://login.example.com"),
        ("OIDC_ISSUER", "http://localhost.evil.example"),
        ("OIDC_ROLES", "{"),
        ("OIDC_PROVIDERS", '{"google": {"client_id": "secret"}}'),
        ("OIDC_PROVIDERS", '{"google": {"issuer": "https://a", "client_id": "b", "secret": ""}}'),
    ],
)
def test_invalid_setting_is_reported(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"FLASK_TESTING": "1", name: value})
    assert f"{name}: " in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OIDC_ROLES", '{"a": "unknown"}'),
        (
            "OIDC_PROVIDERS",
            '{"b": {"issuer": "https://b", "client_id": "c", "roles": {"a": "unknown"}}}',
        ),
    ],
)
def test_unknown_role_is_reported(make_app: Callable[..., Flask], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: permissions.py has no role unknown"):
        make_app(**{name: value})


def test_production_requires_provider(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({})
    for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID"):
        assert f"{name} is missing" in str(error.value)
    settings = make_app().extensions["settings"]
    monkeypatch.setattr(Flask, "testing", False)
    with pytest.raises(SettingsError, match="OIDC_ISSUER: development:"):
        make_app(SECRET_KEY=settings.SECRET_KEY)


# {% if cookiecutter.web_pages %}
def test_pages_show_login_state_of_their_user(browser: Any, make_browser: Any) -> None:
    """Pages of users are not stored by shared caches."""
    browser.log_in()
    response = browser.get("/")
    assert "Log out" in response.text
    assert "private" in response.headers["Cache-Control"]
    assert "Log in" in make_browser().get("/").text
    response = browser.get("/nowhere", headers={"Accept": "text/html"})
    assert "Log " not in response.text


# {% endif %}
def test_error_page_does_not_load_user(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the error may be that users cannot be loaded."""
    browser.log_in()

    def fail() -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(oidc.user_sessions, "load_identity", fail)
    response = browser.get("/private", headers={"Accept": "text/html"})
    assert response.status_code == 503
