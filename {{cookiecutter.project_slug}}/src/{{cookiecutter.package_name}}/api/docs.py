"""The page that shows the OpenAPI document: Swagger UI, served from the package `offapi`."""

from importlib.util import find_spec

from flask import Blueprint, Response, send_from_directory

blueprint = Blueprint(
    "docs",
    __name__,
    url_prefix="/docs",
    static_folder="static",
    static_url_path="",
)

SWAGGER = ["swagger_bundle.js", "swagger_style.css"]


@blueprint.get("")
def page() -> Response:
    """Show what the API can do."""
    return blueprint.send_static_file("docs.html")


@blueprint.get("/<any({}):name>".format(", ".join(f"'{name}'" for name in SWAGGER)))
def swagger(name: str) -> Response:
    """Serve Swagger UI's own files; to import the package would load them all into memory."""
    package = find_spec("offapi")
    folders = package.submodule_search_locations if package else None
    return send_from_directory((folders or [""])[0], name)
