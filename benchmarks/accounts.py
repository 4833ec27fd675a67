"""Measure requests of anonymous and of known users, and equal times of logins and registrations, in one process.

Arguments: ROUNDS RESULT. The settings are read from the environment.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import Any

from sqlalchemy import event
from with_accounts.core.access import requires
from with_accounts.core.auth.accounts.models import User
from with_accounts.core.auth.accounts.passwords import hash_password
from with_accounts.core.database import get_engine, get_session, utcnow
from with_accounts.wsgi import app
from without_auth.wsgi import app as app_without_auth

from benchmarks.in_process import make_request, measure_request
from benchmarks.measurements import alternate

# Requests per round, and rounds of logins and registrations. A password takes tens of milliseconds.
REQUESTS = 100
REQUEST_ROUNDS = 10
LOGINS = 10
EMAIL, PASSWORD, WRONG_PASSWORD = "ada@example.com", "three kites over tokyo", "three kites over kyoto"
API = "/api/v1/account"


def create_user() -> None:
    """Create a user."""
    with app.app_context():
        get_session().add(User(email=EMAIL, password_hash=hash_password(PASSWORD), confirmed_at=utcnow()))
        get_session().commit()


def make_known_request() -> Callable[[], bytes]:
    """Log in, and return a request with the cookie for a view that requires a user."""
    response = post("/login", EMAIL, PASSWORD)
    assert response.status_code == 200, response.text
    cookies = [line.partition(";")[0] for line in response.headers.getlist("Set-Cookie")]

    def with_cookie(environ: dict[str, Any], start_response: Callable[..., None]) -> Any:  # noqa: ANN401
        return app.wsgi_app({**environ, "HTTP_COOKIE": "; ".join(cookies)}, start_response)

    return make_request(with_cookie, "/known")


def count_queries(request: Callable[[], object]) -> int:
    """Return the number of SQL statements of a request."""
    statements: list[str] = []
    with app.app_context():
        engine = get_engine()

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    request()
    event.remove(engine, "before_cursor_execute", count)
    return len(statements)


def post(path: str, email: str, password: str) -> Any:  # noqa: ANN401 - a response
    """Send a login or a registration."""
    credentials = {"email": email, "password": password}
    return app.test_client().post(f"{API}{path}", json=credentials, base_url="http://127.0.0.1", buffered=True)


def time_post(path: str, status: int, make_email: Callable[[], str]) -> float:
    """Return the milliseconds of a request with a wrong password."""
    email = make_email()
    started = perf_counter()
    response = post(path, email, WRONG_PASSWORD)
    duration = (perf_counter() - started) * 1000
    assert response.status_code == status, response.text
    return duration


def unknown_email() -> str:
    """Return an address without an account."""
    return f"{token_hex(8)}@example.com"


def main(rounds: str, result: str) -> None:
    """Measure all requests in alternation, and write JSON to `result`."""
    app.add_url_rule("/known", "known", requires()(lambda: {"user": 1}))
    create_user()
    # Each request is logged, as in production, to the null device.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    applications = {"none": app_without_auth, "accounts": app}
    requests = {name: make_request(one.wsgi_app, "/small") for name, one in applications.items()}
    requests["known"] = make_known_request()
    targets = {name: partial(measure_request, request, REQUESTS) for name, request in requests.items()}
    times = {
        "known address": partial(time_post, "/login", 401, lambda: EMAIL),
        "unknown address": partial(time_post, "/login", 401, unknown_email),
        "registered address": partial(time_post, "/register", 202, lambda: EMAIL),
        "new address": partial(time_post, "/register", 202, unknown_email),
    }
    found = {
        "cpu": {
            name: [one["cpu"] for one in samples]
            for name, samples in alternate(targets, int(rounds) * REQUEST_ROUNDS).items()
        },
        "milliseconds": alternate(times, int(rounds) * LOGINS),
        "queries": {name: count_queries(request) for name, request in requests.items() if name != "none"},
    }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
