"""JSON API of passkeys."""

from flask import Blueprint
from werkzeug.exceptions import NotFound

from ...access import allow_anonymous, requires
from ...api import operation
from ...errors import Problem
from ...rate_limiting import rate_limit
from ..reauthentication import fresh_login_required
from . import passkeys, sessions, users
from .api import Empty, forbid_storing, to_account
from .models import Passkey
from .schemas import Account, NewPasskey, PasskeyIn, PasskeyLogin, PasskeyOptions, PasskeyOut

blueprint = Blueprint("account_passkeys", __name__, url_prefix="/api/v1/account")
blueprint.after_request(forbid_storing)

PASSKEY_ROUTE = "/passkeys/<int(max=2147483647):passkey_id>"


@blueprint.post("/login/passkey/options")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {200: PasskeyOptions})
def start_login() -> PasskeyOptions:
    """Create a challenge for a login with a passkey."""
    return PasskeyOptions(passkeys.start_login())


@blueprint.post("/login/passkey")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {200: Account, 401: Problem})
def log_in(json: PasskeyLogin) -> Account:
    """Log in with a passkey, without a password."""
    user = passkeys.log_in(json.credential)
    return to_account(user.id, user.email)


@blueprint.get("/passkeys")
@requires()
@operation("Account", {200: list[PasskeyOut]})
def list_passkeys() -> list[Passkey]:
    """List the passkeys of the user."""
    return passkeys.list_of(sessions.get_current().user_id)


@blueprint.post("/passkeys/options")
@requires()
@fresh_login_required
@operation("Account", {200: PasskeyOptions, 403: Problem})
def start_registration() -> PasskeyOptions:
    """Create a challenge for a new passkey."""
    return PasskeyOptions(passkeys.start_registration(users.get_current_user()))


@blueprint.post("/passkeys")
@requires()
@fresh_login_required
@operation("Account", {201: NewPasskey, 403: Problem})
def create_passkey(json: PasskeyIn) -> tuple[NewPasskey, int]:
    """Store a new passkey. Logins with the password need a second factor from now on."""
    user = users.get_current_user()
    row, codes = passkeys.register(user, json.credential, json.name)
    return NewPasskey(row.id, row.name, row.created_at, row.used_at, codes), 201


@blueprint.delete(PASSKEY_ROUTE)
@requires()
@fresh_login_required
@operation("Account", {204: None, 403: Problem, 404: Problem})
def remove_passkey(passkey_id: int) -> Empty:
    """Remove a passkey."""
    if not passkeys.remove(users.get_current_user(), passkey_id):
        raise NotFound("There is no such passkey.")
    return None, 204
