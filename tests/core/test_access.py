import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }} import permissions
from {{ cookiecutter.package_name }}.core import access
from {{ cookiecutter.package_name }}.core.access import allow_anonymous, requires
from {{ cookiecutter.package_name }}.core.auth import get_identity
from {{ cookiecutter.package_name }}.core.http_caching import public

Logs = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _notes_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PERMISSIONS", frozenset({"notes:write", "notes:delete"}))


def add_view(app: Flask, *decorators: Callable[[Any], Any]) -> FlaskClient:
    def view() -> str:
        identity = get_identity()
        return identity.id if identity else "unknown"

    for decorator in reversed(decorators):
        view = decorator(view)
    app.add_url_rule("/view", view_func=view)
    return app.test_client()


def test_view_gets_the_identity(make_app: Callable[..., Flask]) -> None:
    client = add_view(make_app(), allow_anonymous)
    assert client.get("/view").text == "1"


@pytest.mark.parametrize(
    ("granted", "status"),
    [
        (["notes:write", "notes:delete"], 200),
        (["notes:write"], 403),
        (["notes:delete"], 403),
        ([], 403),
    ],
)
def test_all_permissions_are_required(
    make_app: Callable[..., Flask], login: Callable[..., None], granted: list[str], status: int
) -> None:
    login(*granted)
    client = add_view(make_app(), requires("notes:write", "notes:delete"))
    assert client.get("/view").status_code == status


def test_requires_without_permission_accepts_every_identity(
    make_app: Callable[..., Flask], login: Callable[..., None]
) -> None:
    login()
    assert add_view(make_app(), requires()).get("/view").status_code == 200


@pytest.mark.usefixtures("anonymous")
def test_unknown_client_gets_a_challenge(make_app: Callable[..., Flask]) -> None:
    response = add_view(make_app(), requires()).get("/view")
    assert response.status_code in {302, 401}


def test_missing_permission_is_named_and_recorded(
    make_app: Callable[..., Flask], login: Callable[..., None], read_logs: Logs
) -> None:
    login()
    response = add_view(make_app(), requires("notes:write")).get("/view")
    assert response.json is not None
    assert response.json["detail"] == "The permission notes:write is missing."
    (event,) = [line for line in read_logs() if line["event"] == "security event"]
    assert event["security_event"] == "permission_denied"
    assert (event["actor"], event["missing"]) == ("1", ["notes:write"])


def test_order_of_decorators_does_not_matter(
    make_app: Callable[..., Flask], login: Callable[..., None]
) -> None:
    login()
    app = make_app()

    def timed(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(**arguments: Any) -> Any:
            return view(**arguments)

        return wrapper

    assert add_view(app, timed, requires("notes:write"), timed).get("/view").status_code == 403


def test_public_view_may_be_called_by_everybody(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    add_view(app, public())
    assert access.get_rule(app, "view") is None


def test_rule_of_a_view_named_like_static_files_is_checked(
    make_app: Callable[..., Flask], login: Callable[..., None]
) -> None:
    login()
    app = make_app()
    view = requires("notes:write")(lambda: "secret")
    app.add_url_rule("/view", "notes.static", view)
    assert app.test_client().get("/view").status_code == 403


def test_contradictory_rules_raise() -> None:
    with pytest.raises(TypeError, match="two different access rules"):
        requires()(allow_anonymous(lambda: ""))


def test_permission_without_a_role_raises() -> None:
    with pytest.raises(ValueError, match=re.escape("no role with notes:raed")):
        requires("notes:raed", "notes:write")


def test_undecided_view_is_rejected_in_debug_mode(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in the process that `flask run --debug` starts.
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    app = make_app(FLASK_TESTING="", FLASK_DEBUG="1")
    response = add_view(app).get("/view")
    assert response.status_code == 403
    assert "add @requires(…) or @allow_anonymous" in response.text


def test_undecided_view_stops_the_start_of_production(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    add_view(app)
    access.require_rules(app)
    app.testing = False
    with pytest.raises(SystemExit, match=r"add @requires.*\n  /view \(.*add_view.*view\)$"):
        access.require_rules(app)


def test_unknown_role_has_no_permissions() -> None:
    assert permissions.permissions_of(["unknown"]) == frozenset()


def test_openapi_document_names_permissions(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    document: Any = app.test_client().get("/docs/openapi.json").json
    assert document["components"]["securitySchemes"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rule = re.sub(r"\{\w+\}", "1", path)
            endpoint, _ = app.url_map.bind("").match(rule, method.upper())
            required = access.get_rule(app, endpoint)
            scopes = [
                scopes for scheme in operation.get("security", []) for scopes in scheme.values()
            ]
            assert all(scope == [*(required or ())] for scope in scopes)
            assert bool(scopes) == (required is not None)
            assert required is None or {"401", "403"} <= operation["responses"].keys()
