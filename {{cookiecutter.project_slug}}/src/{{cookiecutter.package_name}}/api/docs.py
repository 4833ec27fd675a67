"""The OpenAPI document, by spectree, and the page that shows it, by Swagger UI."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Blueprint, Response, current_app, render_template, send_from_directory
from spectree import Response as Answers
from spectree import SpecTree
from spectree.model_adapter import get_msgspec_model_adapter

from ..errors import Problem

blueprint = Blueprint(
    "docs",
    __name__,
    url_prefix="/docs",
    static_folder=Path(flask_swagger_ui.__file__).parent / "dist",
    static_url_path="swagger",
    template_folder=".",
)


def name_model(model: Any) -> str:
    """Name a model in the document; spectree gives a list its name as a title."""
    titles = [meta.title for meta in getattr(model, "__metadata__", ())]
    return titles[0] if titles else model.__name__  # type: ignore[no-any-return]


openapi = SpecTree(
    "flask",
    model_adapter=get_msgspec_model_adapter(),
    validation_error_model=Problem,
    naming_strategy=name_model,
    nested_naming_strategy=lambda _, name: name,
    mode="strict",
    title="{{ cookiecutter.project_name }}",
    version="1",
    path="docs",
)


def describe(
    view: Callable[..., Any],
    tag: str,
    answers: Mapping[int, Any],
    text: tuple[str, str] | None,
) -> Callable[..., Any]:
    """Note an operation for the document; what is returned carries the note, and is not called."""
    models = {f"HTTP_{status}": model for status, model in answers.items()}
    documented: Callable[..., Any] = openapi.validate(resp=Answers(**models), tags=[tag])(view)
    if text:
        media_type, example = text
        content = {media_type: {"schema": {"type": "string"}, "example": example}}
        # spectree itself knows JSON and forms.
        noted: Any = openapi.get_function_metadata(documented)
        noted.parse_request = lambda: {"content": content, "required": True}
    return documented


@blueprint.get("/openapi.json")
def document() -> dict[str, Any]:
    """Tell programs what the API can do (OpenAPI 3.1)."""
    extensions = current_app.extensions
    if "openapi" not in extensions:
        extensions["openapi"] = make_document()
    made: dict[str, Any] = extensions["openapi"]
    return made


def make_document() -> dict[str, Any]:
    """Document the current application, with its errors as they are sent."""
    # spectree keeps the first document that it makes, whatever the application.
    vars(openapi).pop("_spec", None)
    made: dict[str, Any] = openapi.spec
    for operations in made["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            if "requestBody" not in operation and all(
                parameter["in"] == "path" for parameter in operation["parameters"]
            ):
                answers.pop("422")
            problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
            answers["default"] = {"description": "Any other error", "content": {}}
            for status, answer in answers.items():
                if status == "default" or int(status) >= HTTPStatus.BAD_REQUEST:
                    answer["content"] = {"application/problem+json": problem}
    return made


@blueprint.get("")
def page() -> str:
    """Tell people what the API can do."""
    return render_template("docs.html")


@blueprint.get("/docs.js")
def script() -> Response:
    """Start Swagger UI: a script in the page itself would need a weaker security policy."""
    return send_from_directory(blueprint.root_path, "docs.js")
