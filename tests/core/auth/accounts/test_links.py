import time
from collections.abc import Callable

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.auth.accounts import links
from {{ cookiecutter.package_name }}.core.auth.accounts.links import Purpose
from {{ cookiecutter.package_name }}.core.auth.accounts.models import User
from {{ cookiecutter.package_name }}.core.database import get_session, utcnow
from {{ cookiecutter.package_name }}.core.errors import UnprocessableContent


def create(app: Flask, user_id: int, purpose: Purpose = "reset-password") -> str:
    with app.app_context():
        user = get_session().get(User, user_id)
        assert user
        return links.create_token(purpose, user)


def verify(app: Flask, token: str, purpose: Purpose = "reset-password") -> int:
    with app.app_context():
        return links.verify_token(purpose, token)[0].id


def test_token_names_its_user(app: Flask, ada: int) -> None:
    assert verify(app, create(app, ada)) == ada


def test_token_for_another_purpose_is_rejected(app: Flask, ada: int) -> None:
    with pytest.raises(UnprocessableContent):
        verify(app, create(app, ada, "confirm"))


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "WzEsIiIsIjEiXQ.aaaaaa.bbbbbbbbbb"])
@pytest.mark.usefixtures("ada")
def test_forged_token_is_rejected(app: Flask, token: str) -> None:
    with pytest.raises(UnprocessableContent):
        verify(app, token)


def test_changed_token_is_rejected(app: Flask, ada: int) -> None:
    token = create(app, ada)
    with pytest.raises(UnprocessableContent):
        verify(app, ("A" if token[0] != "A" else "B") + token[1:])


def test_expired_token_is_rejected(app: Flask, ada: int, monkeypatch: pytest.MonkeyPatch) -> None:
    token = create(app, ada)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3590)
    assert verify(app, token) == ada
    monkeypatch.setattr(time, "time", lambda: now + 3610)
    with pytest.raises(UnprocessableContent):
        verify(app, token)


@pytest.mark.parametrize(
    "values",
    [{"password_hash": "other"}, {"email": "other@example.com"}, {"disabled_at": utcnow()}],
)
def test_token_is_worthless_after_a_change(app: Flask, ada: int, values: dict[str, object]) -> None:
    token = create(app, ada)
    with app.app_context():
        user = get_session().get(User, ada)
        for name, value in values.items():
            setattr(user, name, value)
        get_session().commit()
    with pytest.raises(UnprocessableContent):
        verify(app, token)


def test_links_lead_to_the_host_of_the_request(app: Flask) -> None:
    with app.test_request_context(base_url="http://localhost/shop/"):
        assert links.base_url() == "http://localhost/shop/account"


def test_commands_print_links_to_the_first_allowed_host(make_app: Callable[..., Flask]) -> None:
    with make_app(ALLOWED_HOSTS=".example.com", URL_PREFIX="/shop").app_context():
        assert links.base_url() == "https://example.com/shop/account"


def test_commands_in_debug_mode_print_links_to_make_run(make_app: Callable[..., Flask]) -> None:
    with make_app(FLASK_DEBUG="1", ALLOWED_HOSTS="localhost").app_context():
        assert links.base_url() == "http://localhost:8000/account"


def test_setting_overrides_the_host(make_app: Callable[..., Flask]) -> None:
    url = "https://app.example.com/login"
    with make_app(ACCOUNT_LINKS_URL=url).test_request_context():
        assert links.base_url() == url
