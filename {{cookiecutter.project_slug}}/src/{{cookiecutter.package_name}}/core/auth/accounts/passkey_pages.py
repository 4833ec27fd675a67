"""Page of passkeys, and the script that uses them."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from ...access import requires
from ..reauthentication import fresh_login_required
from . import passkeys, sessions, users
from .pages import protect
from .passkey_api import PASSKEY_ROUTE

blueprint = Blueprint(
    "account_passkey_pages",
    __name__,
    url_prefix="/account",
    static_folder="static",
)
blueprint.after_request(protect)


@blueprint.get("/passkeys")
@requires()
@fresh_login_required
def overview() -> ResponseReturnValue:
    """List the passkeys of the user, and let the browser create one."""
    rows = passkeys.list_of(sessions.get_current().user_id)
    return render_template("account/passkeys.html", rows=rows)


@blueprint.post(PASSKEY_ROUTE)
@requires()
@fresh_login_required
def remove_passkey(passkey_id: int) -> ResponseReturnValue:
    """Remove a passkey."""
    passkeys.remove(users.get_current_user(), passkey_id)
    flash("The passkey is removed.")
    return redirect(url_for(".overview"), 303)
