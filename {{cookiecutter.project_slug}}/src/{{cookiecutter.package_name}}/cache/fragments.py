"""Parts of pages."""

from collections.abc import Callable

from flask import Flask

from .store import Codec

CODEC = Codec(str.encode, bytes.decode)


def init_app(app: Flask) -> None:
    """Give templates `cached`, which a block calls: `call cached("name", "tag")`, … `endcall`.

    What is inside must be the same for everybody; it is not run as long as it is kept.
    """

    def cached(name: str, *tags: str, caller: Callable[[], str]) -> str:
        html = app.extensions["cache"].get(
            f"fragment {name}", tags, app.config["CACHE_FRAGMENT_LIFETIME"], CODEC, caller
        )
        # The template has escaped it.
        marked: str = app.jinja_env.filters["safe"](html)
        return marked

    app.jinja_env.globals["cached"] = cached
