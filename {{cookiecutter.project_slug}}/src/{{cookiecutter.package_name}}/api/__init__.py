"""The API's frame: checked operations, their OpenAPI document, and the page that shows it."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_type_hints

from flask import Flask, request
from msgspec import Struct, ValidationError, convert
from msgspec.structs import fields
from spectree import Response, SpecTree
from spectree.model_adapter import get_msgspec_model_adapter
from werkzeug.exceptions import UnsupportedMediaType

from ..errors import InvalidInput, Problem
from . import docs

View = Callable[..., Any]

openapi = SpecTree(
    "flask",
    model_adapter=get_msgspec_model_adapter(),
    validation_error_model=Problem,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _, name: name,
    mode="strict",
    title="{{ cookiecutter.project_name }}",
    version="1",
    path="docs",
    page_templates={},
)


def init_app(app: Flask) -> None:
    """Serve the OpenAPI document at /docs/openapi.json, and the page that shows it at /docs."""
    openapi.register(app)
    app.register_blueprint(docs.blueprint)


def operation(tag: str, answers: Mapping[int, Any]) -> Callable[[View], View]:
    """Check and document a view.

    The types of its parameters `query` and `json` say what it takes, `answers` what it gives
    for each status: a Struct, or None where there is no body.
    """

    def decorate(view: View) -> View:
        hints = get_type_hints(view)

        def before(_request: Any, _response: Any, error: Exception | None, *_: Any) -> None:
            if error:
                raise InvalidInput(
                    find_faults(hints.get("query"), request.args.to_dict())
                    + find_faults(hints.get("json"), request.get_json() if "json" in hints else {}),
                )

        def after(_request: Any, _response: Any, error: Exception | None, *_: Any) -> None:
            if error:
                raise error

        checked = openapi.validate(
            resp=Response(**{f"HTTP_{status}": model for status, model in answers.items()}),
            tags=[tag],
            before=before,
            after=after,
        )(view)

        @wraps(checked)
        def guarded(**arguments: Any) -> Any:
            if "json" in hints:
                require_object()
            return checked(**arguments)

        return guarded

    return decorate


def require_object() -> None:
    """Refuse a body that is not a JSON object: 415, 400 or 422."""
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with `Content-Type: application/json`.")
    if not isinstance(request.get_json(), dict):
        raise InvalidInput([{"field": "", "problem": "Expected `object`"}])


def find_faults(model: type[Struct] | None, data: dict[str, Any]) -> list[dict[str, str]]:
    """Name every fault of `data`: msgspec itself, which is fast, stops at the first."""
    if model is None:
        return []
    known = {field.encode_name: field for field in fields(model)}
    faults = [{"field": name, "problem": "is not known"} for name in sorted(data.keys() - known)]
    for name, field in known.items():
        if name in data:
            try:
                convert(data[name], field.type, strict=False)
            except ValidationError as error:
                faults.append({"field": name, "problem": str(error)})
        elif field.required:
            faults.append({"field": name, "problem": "is missing"})
    return faults
