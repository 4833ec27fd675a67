"""JSON API of the second factor."""

from flask import Blueprint

from ...access import allow_anonymous, requires
from ...api import operation
from ...database import get_session
from ...errors import Problem
from ...rate_limiting import rate_limit
from ..reauthentication import fresh_login_required
from . import factors, users
from .api import Empty, forbid_storing, to_account
from .schemas import Account, CodeIn, RecoveryCodes, TOTPSecret

blueprint = Blueprint("account_factors", __name__, url_prefix="/api/v1/account")
blueprint.after_request(forbid_storing)


@blueprint.post("/login/factor")
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {200: Account, 401: Problem})
def finish_login(json: CodeIn) -> Account:
    """Finish a login with a code of the authenticator app, or with a recovery code."""
    user = factors.finish_login(json.code)
    return to_account(user.id, user.email)


@blueprint.post("/totp")
@requires()
@fresh_login_required
@operation("Account", {200: TOTPSecret, 403: Problem})
def start_enrollment() -> TOTPSecret:
    """Create a secret for an authenticator app."""
    return TOTPSecret(*factors.start_enrollment(users.get_current_user()))


@blueprint.post("/totp/confirm")
@requires()
@fresh_login_required
@rate_limit("RATE_LIMIT_LOGIN")
@operation("Account", {200: RecoveryCodes, 403: Problem})
def enroll(json: CodeIn) -> RecoveryCodes:
    """Require codes of the app from now on. The response has recovery codes."""
    return RecoveryCodes(factors.enroll(users.get_current_user(), json.code))


@blueprint.delete("/totp")
@requires()
@fresh_login_required
@operation("Account", {204: None, 403: Problem})
def remove_totp() -> Empty:
    """Require no codes of the app any more."""
    factors.remove_totp(users.get_current_user())
    return None, 204


@blueprint.post("/recovery-codes")
@requires()
@fresh_login_required
@operation("Account", {200: RecoveryCodes, 403: Problem})
def create_recovery_codes() -> RecoveryCodes:
    """Replace the recovery codes."""
    codes = factors.create_recovery_codes(users.get_current_user())
    get_session().commit()
    return RecoveryCodes(codes)
