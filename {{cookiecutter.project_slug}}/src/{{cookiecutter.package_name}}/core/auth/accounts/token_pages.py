"""Page of personal API tokens."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...access import requires
from ...api import parse
from ...database import get_session
from ...errors import UnprocessableContent
from ..identity import get_identity
from ..reauthentication import fresh_login_required
from . import sessions, tokens
from .pages import protect
from .schemas import TokenRequest
from .token_api import TOKEN_ROUTE

blueprint = Blueprint("account_token_pages", __name__, url_prefix="/account/tokens")
blueprint.after_request(protect)


@blueprint.route("", methods=["GET", "POST"])
@requires()
@fresh_login_required
def api_tokens() -> ResponseReturnValue:
    """List the API tokens of the user, and create one."""
    errors: dict[str, str] = {}
    token = ""
    if request.method == "POST":
        try:
            token = create_token()
        except UnprocessableContent as error:
            errors = {field.field: field.message for field in error.errors}
    identity = get_identity()
    rows = tokens.list_of(sessions.get_current().user_id)
    get_session().commit()
    page = render_template(
        "account/tokens.html",
        errors=errors,
        # After a success the form is empty for the next token.
        form=request.form if errors else {},
        permissions=sorted(identity.permissions) if identity else [],
        rows=rows,
        token=token,
    )
    return page, 422 if errors else 200


def create_token() -> str:
    """Create a token with the values of the form, and return it."""
    values: dict[str, Any] = {**request.form.to_dict(), "scopes": request.form.getlist("scopes")}
    given: Any = parse(TokenRequest, values, strict=False)
    user_id = sessions.get_current().user_id
    return tokens.create(user_id, given.name, given.scopes, given.days)[1]


@blueprint.post(TOKEN_ROUTE)
@requires()
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Revoke an API token."""
    tokens.revoke(token_id, sessions.get_current().user_id)
    flash("The token is revoked.")
    return redirect(url_for(".api_tokens"), 303)
