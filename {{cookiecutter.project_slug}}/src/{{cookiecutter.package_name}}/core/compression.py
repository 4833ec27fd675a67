"""Response compression: zstd, br or gzip. Without a reverse proxy the application does it."""

import gzip
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

import brotli
import zstandard
from flask import Flask, Response
from werkzeug.http import parse_accept_header

from . import hooks

# In order of preference: zstd takes half the time of br, and its output is a fifth larger.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
    "br": lambda data: brotli.compress(data, quality=4),
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
}
ENCODINGS = tuple(ENCODERS)
COMPRESSIBLE_TYPES = {
    "application/json",
    "application/problem+json",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/plain",
}
# In bytes. A smaller body fits into one packet without compression.
MIN_SIZE = 1024


def init_app(app: Flask) -> None:
    """Compress responses, after `http_caching` has replaced unchanged ones by 304."""
    hooks.after_request(app, compress)


def compress(response: Response, environ: WSGIEnvironment) -> Response:
    """Compress a response with the encoding that the client prefers."""
    if (
        response.is_streamed
        or response.mimetype not in COMPRESSIBLE_TYPES
        or "Content-Encoding" in response.headers
        or response.status_code == HTTPStatus.PARTIAL_CONTENT
        or len(data := response.get_data()) < MIN_SIZE
        or response.cache_control.no_transform
    ):
        return response
    response.vary.add("Accept-Encoding")
    encoding = choose_encoding(environ.get("HTTP_ACCEPT_ENCODING", ""), ENCODINGS)
    if encoding:
        # A strong ETag stands for exact bytes (RFC 9110, section 8.8.1), and these change.
        etag, is_weak = response.get_etag()
        if etag and not is_weak:
            response.set_etag(etag, weak=True)
        if response.status_code != HTTPStatus.NOT_MODIFIED:
            response.set_data(ENCODERS[encoding](data))
            response.headers["Content-Encoding"] = encoding
    return response


@lru_cache(maxsize=256)
def choose_encoding(accepted: str, offered: Iterable[str]) -> str | None:
    """Return the best offered encoding for `Accept-Encoding` (RFC 9110, section 12.5.3).

    None stands for no encoding.
    """
    accept = parse_accept_header(accepted)
    minimum = max(dict(accept).get("identity", 0), 0.001)
    accepted_encodings = [name for name in offered if accept.quality(name) >= minimum]
    return max(accepted_encodings, key=accept.quality, default=None)
