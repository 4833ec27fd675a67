import subprocess
import sys
from collections.abc import Callable

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

# {% if cookiecutter.__auth %}
from {{ cookiecutter.package_name }}.core.access import allow_anonymous, requires
# {% endif %}
from {{ cookiecutter.package_name }}.core.rate_limiting import rate_limit

FRONT_END = "https://shop.example.com"
OTHER_FRONT_END = "http://localhost:3000"
EVIL = "https://evil.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization,content-type,if-match",
}

# Creates an application without origins, and one with an origin.
IMPORTED = """
import os
import sys
from {{ cookiecutter.package_name }} import create_app
create_app()
print("flask_cors" in sys.modules)
os.environ["CORS_ORIGINS"] = os.environ["ORIGINS"]
create_app()
print("flask_cors" in sys.modules)
"""


@pytest.fixture
def cors_client(make_app: Callable[..., Flask]) -> FlaskClient:
    """Client of an application with a view, and one origin in upper case with the default port."""
    app = make_app(CORS_ORIGINS=f"{FRONT_END.upper()}:443".replace("HTTPS", "https"))
    add_view(app)
    return app.test_client()


def add_view(app: Flask) -> None:
    def here() -> Response:
        response = Response("here")
        response.set_etag("1")
        return response

    # {% if cookiecutter.__auth %}
    requires()(here)
    # {% endif %}
    app.add_url_rule("/here", view_func=here, methods=["GET", "PUT"])


def test_preflight_of_an_allowed_origin(cors_client: FlaskClient) -> None:
    headers = cors_client.options("/here", headers={"Origin": FRONT_END, **PREFLIGHT}).headers
    assert headers.getlist("Access-Control-Allow-Origin") == [FRONT_END]
    assert {"PUT", "PATCH", "DELETE"} < {*headers["Access-Control-Allow-Methods"].split(", ")}
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type, if-match"
    assert headers["Access-Control-Max-Age"] == "600"
    assert headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("origin", [EVIL, "null", "http://shop.example.com", f"{FRONT_END}.evil"])
def test_other_origins_get_no_permission(cors_client: FlaskClient, origin: str) -> None:
    preflight = cors_client.options("/here", headers={"Origin": origin, **PREFLIGHT})
    response = cors_client.get("/here", headers={"Origin": origin})
    for headers in (preflight.headers, response.headers):
        assert not [name for name, _ in headers if name.startswith("Access-Control")]
        # A cache must not return this response to an allowed origin.
        assert "Origin" in headers["Vary"]


def test_response_for_an_allowed_origin(cors_client: FlaskClient) -> None:
    headers = cors_client.get("/here", headers={"Origin": FRONT_END}).headers
    assert headers.getlist("Access-Control-Allow-Origin") == [FRONT_END]
    exposed = {*headers["Access-Control-Expose-Headers"].split(", ")}
    assert {"ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"} <= exposed
    # {% if cookiecutter.__login %}
    assert headers["Access-Control-Allow-Credentials"] == "true"
    # {% else %}
    assert "Access-Control-Allow-Credentials" not in headers
    # {% endif %}


def test_304_has_the_headers(cors_client: FlaskClient) -> None:
    headers = {"Origin": FRONT_END, "If-None-Match": '"1"'}
    response = cors_client.get("/here", headers=headers)
    assert response.status_code == 304
    assert response.headers["Access-Control-Allow-Origin"] == FRONT_END


def test_request_without_origin_reveals_none(make_app: Callable[..., Flask]) -> None:
    app = make_app(CORS_ORIGINS=f"{FRONT_END},{OTHER_FRONT_END}")
    client = app.test_client()
    headers = client.get("/health/live").headers
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Vary"] == "Origin"
    for origin in (FRONT_END, OTHER_FRONT_END):
        headers = client.get("/health/live", headers={"Origin": origin}).headers
        assert headers.getlist("Access-Control-Allow-Origin") == [origin]


def test_errors_have_the_headers(make_app: Callable[..., Flask]) -> None:
    app = make_app(CORS_ORIGINS=FRONT_END)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/limited")
    # {% if cookiecutter.__auth %}
    @allow_anonymous
    # {% endif %}
    @rate_limit("1/day")
    def limited() -> str:
        return str(1 / request.content_length if request.args else 1)  # type: ignore[operator]

    client = app.test_client()
    paths = {"/limited?fails=1": 500, "/limited": 429, "/nowhere": 404}
    for path, status in paths.items():
        # Preflight requests are not counted by the limit of the view.
        client.options(path, headers={"Origin": FRONT_END, **PREFLIGHT})
        response = client.get(path, headers={"Origin": FRONT_END})
        assert response.status_code == status
        assert response.headers.getlist("Access-Control-Allow-Origin") == [FRONT_END]


# {% if cookiecutter.__auth %}
@pytest.mark.usefixtures("anonymous")
def test_preflight_needs_no_identity(cors_client: FlaskClient) -> None:
    preflight = cors_client.options("/here", headers={"Origin": FRONT_END, **PREFLIGHT})
    assert preflight.status_code == 200
    assert preflight.text == ""
    assert cors_client.put("/here", headers={"Origin": FRONT_END}).status_code == 401


@pytest.mark.usefixtures("anonymous")
def test_view_of_options_needs_an_identity(make_app: Callable[..., Flask]) -> None:
    app = make_app(CORS_ORIGINS=FRONT_END)
    app.add_url_rule("/own", view_func=requires()(lambda: "secret"), methods=["OPTIONS"])
    assert app.test_client().options("/own").status_code == 401


# {% endif %}
def test_only_allowed_origins_may_write(cors_client: FlaskClient) -> None:
    for origin, status in ((FRONT_END, 200), (EVIL, 403)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-site", "Cookie": "session=x"}
        response = cors_client.put("/here", headers=headers)
        assert response.status_code == status
        assert ("Access-Control-Allow-Origin" in response.headers) == (status == 200)


def test_without_origins_nothing_is_added(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    add_view(app)
    headers = app.test_client().get("/here", headers={"Origin": FRONT_END}).headers
    assert not [name for name, _ in headers if name.startswith("Access-Control")]
    assert "Vary" not in headers


def test_flask_cors_is_imported_with_origins_only() -> None:
    variables = {"PYTHONPATH": ":".join(sys.path), "FLASK_DEBUG": "1", "ORIGINS": FRONT_END}
    output = subprocess.check_output([sys.executable, "-c", IMPORTED], text=True, env=variables)
    assert output.split() == ["False", "True"]
