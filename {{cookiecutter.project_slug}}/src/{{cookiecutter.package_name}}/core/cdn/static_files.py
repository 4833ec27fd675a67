"""Static files from the URL of the CDN."""

from typing import Any

from flask import Flask


def init_app(app: Flask, cdn_url: str) -> None:
    """Let `url_for` return URLs of the CDN for static files."""
    original = app.url_for

    def url_for(endpoint: str, **values: Any) -> str:
        if endpoint == "static" or endpoint.endswith(".static"):
            return f"{cdn_url}{original(endpoint, **{**values, '_external': False})}"
        return original(endpoint, **values)

    # `flask.url_for` calls the method of the application; Jinja has its own reference.
    app.url_for = url_for  # type: ignore[method-assign]
    app.jinja_env.globals["url_for"] = url_for
