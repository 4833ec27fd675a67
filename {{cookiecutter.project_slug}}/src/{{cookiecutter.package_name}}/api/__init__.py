"""The API's frame: checked operations, their OpenAPI document, and the page that shows it."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NamedTuple, get_type_hints

import msgspec
from flask import Flask, Response, request
from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from ..errors import InvalidInput
from . import docs

View = Callable[..., Any]


def init_app(app: Flask) -> None:
    """Serve the OpenAPI document at /docs/openapi.json, and the page that shows it at /docs."""
    app.register_blueprint(docs.blueprint)


class Text(NamedTuple):
    """A body that is no JSON: its media type, and an example of it."""

    media_type: str
    example: str


def operation(
    tag: str,
    answers: Mapping[int, Any],
    text: Text | None = None,
) -> Callable[[View], View]:
    """Check and document a view.

    The types of its parameters `query`, `headers` and `json` say what it takes; a body that is
    `text` it reads itself. `answers` says what it gives for each status: a Struct, a list of them,
    or None where there is no body. What the view returns, alone or with status and headers, is
    converted to that: a model will do.
    """

    def decorate(view: View) -> View:
        takes = get_type_hints(view)
        documented = docs.describe(view, tag, answers, text)

        @wraps(documented)
        def checked(**arguments: Any) -> Response:
            if "query" in takes:
                arguments["query"] = read(takes["query"], request.args.to_dict(), strict=False)
            if "headers" in takes:
                arguments["headers"] = read(takes["headers"], dict(request.headers), strict=False)
            if "json" in takes:
                arguments["json"] = read(takes["json"], get_object(), strict=True)
            if text and request.mimetype != text.media_type:
                raise UnsupportedMediaType(f"Send `Content-Type: {text.media_type}`.")
            return write(view(**arguments), answers)

        return checked

    return decorate


def get_object() -> dict[str, Any]:
    """Return the body, which must be a JSON object: else 413, 415, 400 or 422."""
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with `Content-Type: application/json`.")
    # Werkzeug cuts a body that does not tell its length at the limit, without a word.
    limit = request.max_content_length
    if request.content_length is None and limit and len(request.get_data()) >= limit:
        raise RequestEntityTooLarge
    body = request.get_json()
    if not isinstance(body, dict):
        raise InvalidInput([{"field": "", "problem": "Expected `object`"}])
    return body


def read(model: type[Struct], data: dict[str, Any], *, strict: bool) -> Struct:
    """Make a Struct of input, or answer 422; text may stand for a number when not `strict`."""
    try:
        return convert(data, model, strict=strict)
    except ValidationError:
        raise InvalidInput(find_faults(model, data, strict=strict)) from None


def find_faults(
    model: type[Struct],
    data: dict[str, Any],
    *,
    strict: bool,
) -> list[dict[str, str]]:
    """Name every fault of `data`: msgspec itself, which is fast, stops at the first."""
    known = {field.encode_name: field for field in fields(model)}
    faults = [{"field": name, "problem": "is not known"} for name in sorted(data.keys() - known)]
    for name, field in known.items():
        if name in data:
            try:
                convert(data[name], field.type, strict=strict)
            except ValidationError as error:
                faults.append({"field": name, "problem": str(error)})
        elif field.required:
            faults.append({"field": name, "problem": "is missing"})
    return faults


def write(given: Any, answers: Mapping[int, Any]) -> Response:
    """Make the response of what a view returned; what does not fit its model is our error: 500."""
    body, status, headers = (*given, {})[:3] if isinstance(given, tuple) else (given, 200, {})
    model = answers[status]
    if model is None:
        response = Response(status=status, headers=headers)
        del response.headers["Content-Type"]
        return response
    data = msgspec.json.encode(convert(body, model, from_attributes=True))
    return Response(data, status, headers, mimetype="application/json")
