"""Pages of the second factor."""

from typing import Any

import segno
from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from ...access import allow_anonymous, requires
from ...database import get_session
from ...rate_limiting import rate_limit
from ..reauthentication import fresh_login_required
from . import factors, users
from .pages import get_next, handle_form, protect
from .schemas import CodeIn

blueprint = Blueprint("account_factor_pages", __name__, url_prefix="/account")
blueprint.after_request(protect)


@blueprint.route("/second-factor", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def second_factor() -> ResponseReturnValue:
    """Finish a login."""

    def action(given: CodeIn) -> ResponseReturnValue:
        factors.finish_login(given.code)
        return redirect(get_next(), 303)

    user = factors.find_pending_user()
    return handle_form(
        "account/second_factor.html",
        CodeIn,
        action,
        factors=factors.list_of(user) if user else [],
        next=get_next(),
    )


@blueprint.route("/totp", methods=["GET", "POST"])
@requires()
@fresh_login_required
@rate_limit("RATE_LIMIT_LOGIN")
def totp() -> ResponseReturnValue:
    """Set up an authenticator app, or remove it."""
    user = users.get_current_user()
    if user.totp_secret:
        return render_template("account/totp_active.html")
    secret = factors.get_new_secret() or factors.start_enrollment(user)[0]
    image: Any = segno.make(factors.get_uri(user, secret))

    def action(given: CodeIn) -> ResponseReturnValue:
        codes = factors.enroll(user, given.code)
        return render_template("account/recovery_codes.html", codes=codes)

    return handle_form(
        "account/totp.html",
        CodeIn,
        action,
        secret=secret,
        image=image.svg_data_uri(scale=4, light="white"),
    )


@blueprint.post("/totp/remove")
@requires()
@fresh_login_required
def remove_totp() -> ResponseReturnValue:
    """Require no codes of the app any more."""
    factors.remove_totp(users.get_current_user())
    flash("The authenticator app is removed.")
    return redirect(url_for("account_pages.overview"), 303)


@blueprint.post("/recovery-codes")
@requires()
@fresh_login_required
def recovery_codes() -> ResponseReturnValue:
    """Replace the recovery codes, and show the new ones."""
    codes = factors.create_recovery_codes(users.get_current_user())
    get_session().commit()
    return render_template("account/recovery_codes.html", codes=codes)
