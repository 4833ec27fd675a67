"""JSON API of personal API tokens."""

from flask import Blueprint
from werkzeug.exceptions import NotFound

from ...access import requires
from ...api import operation
from ...database import get_session
from ...errors import Problem
from ..reauthentication import fresh_login_required
from . import sessions, tokens
from .api import Empty, forbid_storing
from .models import ApiToken
from .schemas import NewToken, TokenOut, TokenRequest

blueprint = Blueprint("account_tokens", __name__, url_prefix="/api/v1/account/tokens")
blueprint.after_request(forbid_storing)

TOKEN_ROUTE = "/<int(max=2147483647):token_id>"  # noqa: S105 - it is a route


@blueprint.get("")
@requires()
@operation("Account", {200: list[TokenOut]})
def list_tokens() -> list[TokenOut]:
    """List the API tokens of the user."""
    rows = tokens.list_of(sessions.get_current().user_id)
    get_session().commit()
    return [to_output(row) for row in rows]


@blueprint.post("")
@requires()
@fresh_login_required
@operation("Account", {201: NewToken, 403: Problem})
def create_token(json: TokenRequest) -> tuple[NewToken, int]:
    """Create an API token. The response has it, and no other response ever does."""
    user_id = sessions.get_current().user_id
    row, token = tokens.create(user_id, json.name, json.scopes, json.days)
    output = to_output(row)
    return NewToken(
        output.id,
        output.name,
        output.scopes,
        output.created_at,
        output.expires_at,
        output.used_at,
        token,
    ), 201


@blueprint.delete(TOKEN_ROUTE)
@requires()
@operation("Account", {204: None, 404: Problem})
def revoke_token(token_id: int) -> Empty:
    """Revoke an API token."""
    if not tokens.revoke(token_id, sessions.get_current().user_id):
        raise NotFound("There is no such token.")
    return None, 204


def to_output(row: ApiToken) -> TokenOut:
    """Return a token for a response."""
    return TokenOut(
        row.id, row.name, row.scopes.split(), row.created_at, row.expires_at, row.used_at
    )
