"""Authentication and authorization: the identity of a request, and the check of access rules."""

from contextlib import suppress
from typing import Any

from flask import Flask, current_app, request
from werkzeug.exceptions import Forbidden, Unauthorized

from .. import SAFE_METHODS
from ..access import UNDECIDED, Permissions, get_rule
from . import (
    audit,
    # {% if cookiecutter.__sql %}
    audit_table,
    # {% endif %}
    # {% if cookiecutter.auth == "jwt" %}
    jwt,
    # {% endif %}
    # {% if cookiecutter.__sql %}
    row_security,
    # {% endif %}
)
# {% if cookiecutter.__sql %}
from .authorship import CreatedBy, UpdatedBy
# {% endif %}
from .identity import Identity, acting_as, get_identity, get_provider
# {% if cookiecutter.__login %}
from .reauthentication import fresh_login_required
# {% endif %}

__all__ = [
    # {% if cookiecutter.__sql %}
    "CreatedBy",
    # {% endif %}
    "Identity",
    # {% if cookiecutter.__sql %}
    "UpdatedBy",
    # {% endif %}
    "acting_as",
    # {% if cookiecutter.__login %}
    "fresh_login_required",
    # {% endif %}
    "get_identity",
    "init_app",
]


def init_app(app: Flask) -> None:
    """Check the access rule of each request's view."""
    # {% if cookiecutter.__sql %}
    audit_table.init_app(app)
    row_security.init_app(app)
    # {% endif %}
    # {% if cookiecutter.auth == "accounts" %}
    # Imported here: it has rate limits, which themselves import this package for their events.
    from . import accounts

    accounts.init_app(app)
    # {% endif %}
    # {% if cookiecutter.auth == "jwt" %}
    jwt.init_app(app)
    # {% endif %}
    # {% if cookiecutter.auth == "oidc" %}
    # Imported here: it has rate limits, which themselves import this package for their events.
    from . import oidc

    oidc.init_app(app)
    # {% endif %}

    @app.before_request
    def check_access() -> None:
        # Each use of `request` takes most of a microsecond: once for what everybody may read.
        route: Any = request.url_rule
        if route is None:
            return
        rule = get_rule(app, route.endpoint)
        if rule is not None:
            # Flask itself responds to OPTIONS; browsers send it without credentials (CORS).
            if not (request.method == "OPTIONS" and route.provide_automatic_options):
                check(rule)
        elif not SAFE_METHODS.issuperset(route.methods) and request.method not in SAFE_METHODS:
            # For `created_by`, and before the transaction of the view. A login must work with
            # an old token.
            with suppress(Unauthorized):
                get_identity()


def check(permissions: Permissions) -> None:
    """Respond with 401 without an identity, and with 403 if it lacks one of the permissions."""
    if permissions is UNDECIDED:
        # A test of the project finds these views.
        if current_app.testing:
            return
        raise Forbidden("This view has no access rule: add @requires(…) or @allow_anonymous.")
    identity = get_identity()
    if identity is None:
        get_provider().challenge()
    if missing := sorted(set(permissions) - identity.permissions):
        audit.record("permission_denied", endpoint=request.endpoint or "", missing=missing)
        raise Forbidden(f"The permission {' and '.join(missing)} is missing.")
