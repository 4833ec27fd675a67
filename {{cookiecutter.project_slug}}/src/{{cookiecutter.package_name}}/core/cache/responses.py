"""Keys and encoding of cached responses."""

from http import HTTPStatus
from urllib.parse import unquote_plus

import msgspec
from flask import Response, request

from ..http_caching import uses_session
from .store import Codec


class CachedResponse(msgspec.Struct, array_like=True):
    """A response with status 200."""

    headers: list[tuple[str, str]]
    body: bytes


_decode = msgspec.msgpack.Decoder(CachedResponse).decode


def cache_key() -> str:
    """Return a key for the request's URL that ignores the order of different parameters."""
    environ = request.environ
    query = "&".join(sorted(environ.get("QUERY_STRING", "").split("&"), key=parameter_name))
    site = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
    # The decoded path may contain a question mark, and a query no line break.
    return f"{site}{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}\n{query}"


def parameter_name(parameter: str) -> str:
    """Return the name of a query parameter; those with the same name keep their order."""
    return unquote_plus(parameter.partition("=")[0])


def encode(response: Response) -> bytes | None:
    """Encode a response; return None if it must not be cached."""
    control = response.cache_control
    is_cacheable = (
        response.status_code == HTTPStatus.OK
        and not (control.private or control.no_cache or control.no_store)
        and not response.is_streamed
        and not response.vary
        and "Set-Cookie" not in response.headers
        and not uses_session()
    )
    if not is_cacheable:
        return None
    return msgspec.msgpack.encode((list(response.headers), response.get_data()))


def decode(data: bytes) -> Response:
    """Decode a response."""
    cached = _decode(data)
    return Response(cached.body, headers=cached.headers)


CODEC = Codec(encode, decode)
