"""Security events: a log line for each, and rows of the audit table if there is one."""

import os
from getpass import getuser
from typing import Literal

import click
import structlog
from flask import g, has_request_context, request
from flask.cli import ScriptInfo

# {% if cookiecutter.__sql %}
from . import audit_table
# {% endif %}
from .identity import Identity

# Errors for a user without a name, as in a container.
NAME_ERRORS = (KeyError, OSError)

Event = Literal[
    # {% if cookiecutter.__login %}
    "login_failed",
    "login_succeeded",
    "logout",
    # {% endif %}
    # {% if cookiecutter.auth == "accounts" %}
    "address_changed",
    "address_confirmed",
    "factor_added",
    "factor_failed",
    "factor_removed",
    "password_changed",
    "password_reset_requested",
    # {% endif %}
    "permission_denied",
    "rate_limit_reached",
    # {% if cookiecutter.auth == "accounts" %}
    "recovery_code_used",
    "registration_repeated",
    "role_granted",
    "role_revoked",
    "session_revoked",
    "token_created",
    # {% endif %}
    "token_rejected",
    # {% if cookiecutter.auth == "accounts" %}
    "token_revoked",
    # {% endif %}
    # {% if cookiecutter.__users %}
    "user_disabled",
    "user_registered",
    # {% endif %}
]


def record(event: Event, *, subject: str = "", **details: str | list[str]) -> None:
    """Record a security event.

    `subject` is the ID of the user whom the event concerns, by default that of the request's
    identity. `details` must not contain secrets or long texts of a client.
    """
    identity: Identity | None = g.get("identity")
    user = identity.id if identity else ""
    values = {
        "security_event": event,
        "actor": user or get_operator(),
        "subject": subject or user,
        "address": (request.remote_addr or "") if has_request_context() else "",
    }
    structlog.get_logger().info("security event", **values, **details)
    # {% if cookiecutter.__sql %}
    # Events of unknown clients are only logged, so that they cannot fill the database.
    if values["subject"]:
        audit_table.add(values, details)
    # {% endif %}


def get_operator() -> str:
    """Return who runs a `flask` command, such as `cli:ada`; "" outside of commands."""
    context = click.get_current_context(silent=True)
    if has_request_context() or context is None or context.find_object(ScriptInfo) is None:
        return ""
    try:
        name = getuser()
    except NAME_ERRORS:
        name = str(os.getuid())
    return f"cli:{name}"[:255]
