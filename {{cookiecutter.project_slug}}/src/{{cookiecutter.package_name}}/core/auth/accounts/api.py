"""JSON API of accounts, for single-page and mobile applications."""

from flask import Blueprint, Response
from sqlalchemy import select
from werkzeug.exceptions import NotFound

from ....permissions import permissions_of
from ...access import allow_anonymous, requires
from ...api import operation
from ...database import get_session
from ...errors import Problem
from ...rate_limiting import rate_limit
from .. import audit
from ..reauthentication import fresh_login_required
from . import login, sessions, users
from .models import UserRole
from .schemas import (
    Account,
    Confirmation,
    Credentials,
    EmailIn,
    Message,
    PasswordChange,
    PasswordIn,
    PasswordReset,
    SecondFactor,
    SessionOut,
    TokenIn,
)

blueprint = Blueprint("account", __name__, url_prefix="/api/v1/account")

SESSION_ROUTE = "/sessions/<int(max=2147483647):session_id>"

MAIL_SENT = Message("We have sent you a mail, if the address is right.")
# A browser deletes what it has stored of this site. The cookie is deleted by itself: the cookie of
# a known device remains.
CLEAR_SITE_DATA = {"Clear-Site-Data": '"cache", "storage"'}

Empty = tuple[None, int]


@blueprint.after_request
def forbid_storing(response: Response) -> Response:
    """Forbid browsers and proxies to store responses about an account."""
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/register")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {202: Message, 403: Problem})
def register(json: Credentials) -> tuple[Message, int]:
    """Register an address. The response is the same for an address that has an account."""
    users.register(json.email, json.password)
    return MAIL_SENT, 202


@blueprint.post("/confirm")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {204: None})
def confirm(json: Confirmation) -> Empty:
    """Confirm an address by the token of a mail and the password."""
    users.confirm(json.token, json.password)
    return None, 204


@blueprint.post("/login")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {200: Account, 202: SecondFactor, 401: Problem, 403: Problem})
def log_in(json: Credentials) -> tuple[Account | SecondFactor, int]:
    """Log in with address and password. The session is a cookie.

    With the status 202 one of the second factors must follow: a code, or a login with a passkey.
    """
    user, required = login.log_in(json.email, json.password)
    if required:
        return SecondFactor(required), 202
    return to_account(user.id, user.email), 200


@blueprint.post("/logout")
@requires()
@operation("Account", {204: None})
def log_out() -> tuple[None, int, dict[str, str]]:
    """Log out."""
    sessions.end()
    get_session().commit()
    audit.record("logout")
    return None, 204, CLEAR_SITE_DATA


@blueprint.post("/forgot-password")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {202: Message})
def forgot_password(json: EmailIn) -> tuple[Message, int]:
    """Request a mail with a link to set a new password."""
    users.request_password_reset(json.email)
    return MAIL_SENT, 202


@blueprint.post("/reset-password")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {204: None})
def reset_password(json: PasswordReset) -> Empty:
    """Set a new password by the token of a mail. All sessions of the user end."""
    users.reset_password(json.token, json.password)
    return None, 204


@blueprint.get("")
@requires()
@operation("Account", {200: Account})
def read_account() -> Account:
    """Return the user of the request."""
    user = users.get_current_user()
    return to_account(user.id, user.email)


@blueprint.put("/password")
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {204: None})
def change_password(json: PasswordChange) -> Empty:
    """Change the password. All other sessions of the user end."""
    login.change_password(users.get_current_user(), json.current_password, json.password)
    return None, 204


@blueprint.post("/reauthenticate")
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {204: None})
def reauthenticate(json: PasswordIn) -> Empty:
    """Enter the password again, which sensitive operations require after a while."""
    login.reauthenticate(users.get_current_user(), json.password)
    return None, 204


@blueprint.put("/address")
@requires()
@fresh_login_required
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {202: Message, 403: Problem})
def request_address_change(json: EmailIn) -> tuple[Message, int]:
    """Request a mail to a new address. It has a link that changes the address."""
    users.request_address_change(users.get_current_user(), json.email)
    return MAIL_SENT, 202


@blueprint.post("/change-address")
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {204: None})
def change_address(json: TokenIn) -> Empty:
    """Change the address by the token of a mail."""
    users.change_address(users.get_current_user(), json.token)
    return None, 204


@blueprint.get("/sessions")
@requires()
@operation("Account", {200: list[SessionOut]})
def list_sessions() -> list[SessionOut]:
    """List the active sessions of the user."""
    current = sessions.get_current()
    rows = sessions.list_of(current.user_id)
    get_session().commit()
    return [
        SessionOut(
            row.id,
            row.created_at,
            row.seen_at,
            row.address,
            row.user_agent,
            current=row.id == current.id,
        )
        for row in rows
    ]


@blueprint.delete(SESSION_ROUTE)
@requires()
@operation("Account", {204: None, 404: Problem})
def revoke_session(session_id: int) -> Empty:
    """Log out in another browser."""
    user_id = sessions.get_current().user_id
    if not sessions.revoke(session_id, user_id):
        raise NotFound("There is no such session.")
    get_session().commit()
    sessions.record_revoked(1, user_id)
    return None, 204


@blueprint.delete("/sessions")
@requires()
@operation("Account", {204: None})
def revoke_sessions() -> tuple[None, int, dict[str, str]]:
    """Log out everywhere, here too."""
    user_id = sessions.get_current().user_id
    count = sessions.revoke_all(user_id)
    sessions.end()
    get_session().commit()
    sessions.record_revoked(count, user_id)
    return None, 204, CLEAR_SITE_DATA


def to_account(user_id: int, email: str) -> Account:
    """Return a user with roles and permissions."""
    statement = select(UserRole.role).where(UserRole.user_id == user_id).order_by(UserRole.role)
    roles = [*get_session().scalars(statement)]
    return Account(user_id, email, roles, sorted(permissions_of(roles)))
