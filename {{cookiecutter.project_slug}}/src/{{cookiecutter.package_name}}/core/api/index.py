"""The root URL of a service without pages."""

from typing import Any

from flask import Blueprint, make_response, redirect, url_for
from flask.typing import ResponseReturnValue

# {% if cookiecutter.__auth %}
from ..access import allow_anonymous
# {% endif %}
from ..media_types import prefers_html
from .openapi import openapi

blueprint = Blueprint("index", __name__)


@blueprint.get("/")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
def index() -> ResponseReturnValue:
    """Redirect browsers to the documentation; return name and links to other clients."""
    body = redirect(url_for("docs.swagger_ui")) if prefers_html() else get_links()
    response = make_response(body)
    response.vary.add("Accept")
    return response


def get_links() -> dict[str, Any]:
    """Return the service's name, the version of its API, and paths to start from."""
    return {
        "name": openapi.config.title,
        "version": openapi.config.version,
        "documentation": url_for("docs.swagger_ui"),
        "openapi": url_for("docs.openapi_json"),
        "health": url_for("health.ready"),
    }
