"""Whole answers: kept ready to be sent, and found before the view and its checks run."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from flask import Flask, Response, make_response, request

from ..http_caching import is_personal
from .store import Codec

KEPT_METHODS = {"GET", "HEAD"}


class Answer(msgspec.Struct, array_like=True):
    """An answer with status 200."""

    headers: list[tuple[str, str]]
    body: bytes


decode_answer = msgspec.msgpack.Decoder(Answer).decode


def keep_view(app: Flask, endpoint: str, *tags: str) -> None:
    """Keep the answers of a `public` view, one for each address, for CACHE_VIEW_LIFETIME seconds.

    Nothing personal is kept, nor what is no plain success, says that it varies, or is a stream.
    """
    view: Callable[..., Any] = app.view_functions[endpoint]

    @wraps(view)
    def answer(**arguments: Any) -> Any:
        if request.method not in KEPT_METHODS or is_personal():
            return view(**arguments)
        return app.extensions["cache"].get(
            name_request(),
            tags,
            app.config["CACHE_VIEW_LIFETIME"],
            CODEC,
            lambda: make_response(view(**arguments)),
        )

    app.view_functions[endpoint] = answer


def name_request() -> str:
    """Name what a request asks for; the order of different parameters does not matter."""
    environ = request.environ
    query = "&".join(sorted(environ.get("QUERY_STRING", "").split("&"), key=name_parameter))
    site = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
    # A path may hold a question mark, and a query no line break.
    return f"{site}{environ['PATH_INFO']}\n{query}"


def name_parameter(parameter: str) -> str:
    """Name what a part of the query sets; of two that set the same the first may count."""
    return unquote_plus(parameter.partition("=")[0])


def encode(response: Response) -> bytes | None:
    """Write an answer down, if it may be kept."""
    may_be_kept = (
        response.status_code == HTTPStatus.OK
        and response.cache_control.public
        and not response.cache_control.no_cache
        and not response.cache_control.no_store
        and not response.is_streamed
        and not response.vary
        and "Set-Cookie" not in response.headers
    )
    if not may_be_kept:
        return None
    return msgspec.msgpack.encode((list(response.headers), response.get_data()))


def decode(data: bytes) -> Response:
    """Make the answer again."""
    kept = decode_answer(data)
    return Response(kept.body, headers=kept.headers)


CODEC = Codec(encode, decode)
