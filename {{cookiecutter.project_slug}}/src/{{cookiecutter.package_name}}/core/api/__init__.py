"""JSON API: validation of requests and responses, the OpenAPI document and its page."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_type_hints

import msgspec
from flask import Flask, Response, request
from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from ..errors import FieldError, UnprocessableContent
from . import (
    # {% if cookiecutter.web_pages == false %}
    index,
    # {% endif %}
    openapi,
)
from .openapi import TextBody

__all__ = ["TextBody", "get_body", "init_app", "operation"]

View = Callable[..., Any]


def init_app(app: Flask) -> None:
    """Serve the OpenAPI document at /docs/openapi.json, and Swagger UI at /docs."""
    app.register_blueprint(openapi.blueprint)
    # {% if cookiecutter.web_pages == false %}
    app.register_blueprint(index.blueprint)
    # {% endif %}


def operation(
    tag: str,
    responses: Mapping[int, Any],
    request_body: TextBody | None = None,
) -> Callable[[View], View]:
    """Validate and document a view; it goes below the route.

    The annotations of the view's parameters `query`, `headers` and `json` are the Structs that the
    request is parsed into. A view with a `request_body` reads its text from `request`. Invalid
    input gets 422 with all invalid fields.

    `responses` has the model of each status: a Struct, a list of Structs, a `TextBody`, or None for
    an empty body. The view returns a body, or a tuple of body, status and headers. The body is
    converted to the model: any object with the same attributes will do. A text is sent as it is.
    """

    def decorate(view: View) -> View:
        models = get_type_hints(view)
        documented = openapi.register_operation(view, tag, responses, request_body)

        @wraps(documented)
        def wrapper(**arguments: Any) -> Response:
            if "query" in models:
                arguments["query"] = parse(models["query"], request.args.to_dict(), strict=False)
            if "headers" in models:
                arguments["headers"] = parse(models["headers"], dict(request.headers), strict=False)
            if "json" in models:
                arguments["json"] = parse(models["json"], get_json_object(), strict=True)
            if request_body and request.mimetype != request_body.media_type:
                raise UnsupportedMediaType(f"Send `Content-Type: {request_body.media_type}`.")
            return make_response(view(**arguments), responses)

        return wrapper

    return decorate


def get_json_object() -> dict[str, Any]:
    """Return the JSON object in the body, or raise the error for 413, 415, 400 or 422."""
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with `Content-Type: application/json`.")
    get_body()
    body = request.get_json()
    if not isinstance(body, dict):
        raise UnprocessableContent(FieldError("", "Expected `object`"))
    return body


def get_body() -> bytes:
    """Return the request body; raise 413 if it is too large."""
    body = request.get_data()
    # Werkzeug truncates a body without Content-Length at the limit.
    limit = request.max_content_length
    if request.content_length is None and limit and len(body) >= limit:
        raise RequestEntityTooLarge
    return body


def parse(model: type[Struct], data: dict[str, Any], *, strict: bool) -> Struct:
    """Convert input to a Struct, or raise the error for 422; unless `strict`, "1" is a number."""
    try:
        return convert(data, model, strict=strict)
    except ValidationError:
        raise UnprocessableContent(*collect_errors(model, data, strict=strict)) from None


def collect_errors(model: type[Struct], data: dict[str, Any], *, strict: bool) -> list[FieldError]:
    """Return the errors of all fields. msgspec itself stops at the first one."""
    known = {field.encode_name: field for field in fields(model)}
    errors = [FieldError(name, "is unknown") for name in sorted(data.keys() - known)]
    for name, field in known.items():
        if name in data:
            try:
                convert(data[name], field.type, strict=strict)
            except ValidationError as error:
                errors.append(FieldError(name, str(error)))
        elif field.required:
            errors.append(FieldError(name, "is missing"))
    return errors


def make_response(result: Any, responses: Mapping[int, Any]) -> Response:
    """Return the response for what a view returned; a body that does not fit its model is a 500."""
    body, status, headers = (*result, {})[:3] if isinstance(result, tuple) else (result, 200, {})
    model = responses[status]
    if model is None:
        response = Response(status=status, headers=headers)
        del response.headers["Content-Type"]
        return response
    if isinstance(model, TextBody):
        return Response(body, status, headers, mimetype=model.media_type)
    data = msgspec.json.encode(convert(body, model, from_attributes=True))
    return Response(data, status, headers, mimetype="application/json")
