"""What clients, proxies and CDNs may keep of an answer (RFC 9111); by default nobody shares it."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, make_response, request
from flask.globals import request_ctx

# {% if cookiecutter.__cdn_peers %}
from .. import cdn
from ..proxies import compression

# {% elif cookiecutter.__cdn %}
from .. import cdn

# {% elif cookiecutter.reverse_proxy == "none" %}
from ..proxies import compression

# {% endif %}
View = Callable[..., Any]

CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")
PRIVATE = "private, no-cache"


def init_app(app: Flask) -> None:
    """Look at each answer before it is sent; what is set up last looks at it first."""
    # {% if cookiecutter.reverse_proxy == "none" %}
    compression.init_app(app)
    # {% endif %}
    app.after_request(answer_conditionally)
    # {% if cookiecutter.__cdn %}
    cdn.init_app(app)
    # {% endif %}


def answer_conditionally(response: Response) -> Response:
    """Spare a client the body that it has already: 304 (RFC 9110, sections 13.1.2 and 13.1.3)."""
    environ = request.environ
    conditions = {name: environ[name] for name in CONDITIONS if name in environ}
    if conditions and response.status_code == HTTPStatus.OK:
        # Only these, and whatever else it would look at is not for us.
        response.make_conditional({"REQUEST_METHOD": request.method, **conditions})
    return response


def public(*, is_checked: bool = False) -> Callable[[View], View]:
    """Let everybody keep what a view answers, for as long as the settings say.

    With `is_checked` nobody uses it without asking whether it has changed. What answers somebody
    who is known, by a cookie or by `Authorization`, stays private all the same.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(**arguments: Any) -> Response:
            response = make_response(view(**arguments))
            if response.status_code == HTTPStatus.OK:
                policy = choose(is_checked=is_checked)
                if policy == PRIVATE and not response.cache_control.no_store:
                    response.headers["Cache-Control"] = policy
                # Otherwise what the view says itself goes before.
                response.headers.setdefault("Cache-Control", policy)
                if not response.is_streamed:
                    response.add_etag()
            return response

        return answer

    return decorate


def choose(*, is_checked: bool) -> str:
    """Choose the directives of a public view's answer."""
    # Asked through `flask.session` it would count as used.
    uses_session = getattr(request_ctx._session, "accessed", True)  # noqa: SLF001
    if is_personal() or uses_session:
        return PRIVATE
    if is_checked:
        return "public, no-cache"
    fresh, stale = (current_app.config[f"HTTP_CACHE_{name}"] for name in ("LIFETIME", "STALE"))
    return f"public, max-age={fresh}, stale-while-revalidate={stale}"


def is_personal() -> bool:
    """Tell whether the request says who sends it."""
    environ = request.environ
    return "HTTP_COOKIE" in environ or "HTTP_AUTHORIZATION" in environ
