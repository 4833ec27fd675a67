from secrets import token_hex
from typing import Any

from {{ cookiecutter.package_name }}.permissions import ROLES, permissions_of


def test_many_groups_do_not_fill_the_cookie(browser: Any) -> None:
    groups = [token_hex(16) for _ in range(200)]
    browser.log_in(roles=[*groups, *ROLES])
    assert browser.whoami()[2] == sorted(permissions_of([*ROLES]))
    assert len(browser.cookie) < 4000


def test_long_id_token_is_left_out(browser: Any) -> None:
    browser.log_in(other="short")
    assert "id_token_hint" in read_logout(browser)
    browser.log_in(other=token_hex(2000))
    assert browser.whoami()
    assert len(browser.cookie) < 4000
    assert "id_token_hint" not in read_logout(browser)


def read_logout(browser: Any) -> str:
    response = browser.post("/logout")
    assert response.status_code == 200
    return f"{response.headers} {response.text}"


def test_session_that_does_not_fit_returns_400(browser: Any) -> None:
    response = browser.log_in(sub=token_hex(2500))
    assert response.status_code == 400
    assert "(session_too_large)" in response.get_json()["detail"]
    assert browser.whoami() == []
