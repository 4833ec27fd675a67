"""Static files from the CDN's own address, if it has one."""

from typing import Any

from flask import Flask


def init_app(app: Flask, url: str) -> None:
    """Make `url_for` lead to the CDN for static files, and let pages load from there."""
    make = app.url_for

    def url_for(endpoint: str, **values: Any) -> str:
        if endpoint == "static" or endpoint.endswith(".static"):
            return f"{url}{make(endpoint, **{**values, '_external': False})}"
        return make(endpoint, **values)

    app.url_for = url_for  # type: ignore[method-assign]
    app.jinja_env.globals["url_for"] = url_for
    app.config["CONTENT_SOURCES"] = [*app.config["CONTENT_SOURCES"], url]
