"""Errors for people: a page where the client prefers HTML to JSON."""

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from .. import errors

JSON_OR_HTML = ["application/problem+json", "application/json", "text/html"]


def init_app(app: Flask) -> None:
    """Take the place of the handler that knows JSON only."""
    app.register_error_handler(HTTPException, respond)


def respond(error: HTTPException) -> Response:
    """Answer with a page or with a problem, and tell caches that it depends on `Accept`."""
    response = errors.respond(error)
    if request.accept_mimetypes.best_match(JSON_OR_HTML) == "text/html":
        response.data = render_template("error.html", problem=errors.describe(error))
        response.content_type = "text/html; charset=utf-8"
    response.vary.add("Accept")
    return response
