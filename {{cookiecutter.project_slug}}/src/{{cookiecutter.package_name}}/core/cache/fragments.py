"""The `cache` block of templates."""

from collections.abc import Callable

from flask import current_app, request
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from ...config import get_settings
from .store import Codec, Store

CODEC = Codec(str.encode, bytes.decode)


class CacheExtension(Extension):
    """Caches the HTML between `cache "name", "table", …` and `endcache`; the tags are optional.

    The HTML must be the same for everybody. It is cached for CACHE_FRAGMENT_TTL seconds.
    """

    tags = frozenset({"cache"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> nodes.Node:
        """Compile a block to a call of `render`."""
        line = next(parser.stream).lineno
        arguments = [parser.parse_expression()]
        while parser.stream.skip_if("comma"):
            arguments.append(parser.parse_expression())
        body = parser.parse_statements(("name:endcache",), drop_needle=True)
        call = self.call_method("render", arguments, lineno=line)
        return nodes.CallBlock(call, [], [], body, lineno=line)

    def render(self, name: str, *tags: str, caller: Callable[[], str]) -> str:
        """Return the cached content of a block, or render it."""
        store: Store = current_app.extensions["cache"]
        # Links begin with the path below which the client reaches the application.
        key = f"fragment {request.script_root if request else ''} {name}"
        html: str = store.get_or_compute(
            key, tags, get_settings().CACHE_FRAGMENT_TTL, CODEC, caller
        )
        return html
