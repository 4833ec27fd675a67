"""Pages of accounts: forms and the page of the account.

To change a page, copy its template to `web/templates/account/` and edit it there.
"""

from collections.abc import Callable
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    flash,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from msgspec import Struct
from werkzeug.exceptions import Forbidden, TooManyRequests, Unauthorized

from ....config import get_settings
from ....web import add_nav_template
from ...access import allow_anonymous, requires
from ...api import parse
from ...database import get_session
from ...errors import UnprocessableContent
from ...rate_limiting import rate_limit
from .. import audit
from ..identity import get_identity
from ..reauthentication import fresh_login_required
from ..redirects import local_url
from . import login, sessions, users
from .api import CLEAR_SITE_DATA, SESSION_ROUTE, to_account
from .schemas import (
    Confirmation,
    Credentials,
    EmailIn,
    PasswordChange,
    PasswordIn,
    PasswordReset,
    TokenIn,
)

blueprint = Blueprint(
    "account_pages",
    __name__,
    url_prefix="/account",
    template_folder="templates",
)

# Errors that a form shows above its fields.
FORM_ERRORS = (Unauthorized, Forbidden, TooManyRequests)

CHECK_MAIL = "We have sent you a mail, if the address is right. Its link is the next step."


def init_app(app: Flask) -> None:
    """Register the pages, and let the navigation show the login or the account."""
    app.register_blueprint(blueprint)
    app.jinja_env.globals["get_identity"] = get_identity
    add_nav_template(app, "auth/nav.html")


@blueprint.after_request
def protect(response: Response) -> Response:
    """Forbid to store pages, and to send their URLs, which may have tokens, to other sites."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def get_next() -> str:
    """Return the parameter `next` if it is a path of this site, otherwise the account's page."""
    return local_url(request.args.get("next"), url_for("account_pages.overview"))


def handle_form(
    template: str,
    model: type[Struct],
    action: Callable[[Any], ResponseReturnValue],
    **context: Any,
) -> ResponseReturnValue:
    """Show a form; when it is sent, call `action` with its values. Show errors at the fields."""
    errors: dict[str, str] = {}
    status = 200
    if request.method == "POST":
        try:
            return action(parse(model, request.form.to_dict(), strict=True))
        except UnprocessableContent as error:
            status = 422
            errors = {field.field: field.message for field in reversed(error.errors)}
        except FORM_ERRORS as error:
            status = error.code or 400
            errors = {"": error.description or ""}
    page = render_template(template, errors=errors, form=request.values, **context)
    return page, status


def redirect_to(endpoint: str, message: str = "") -> Response:
    """Redirect to a page, which shows the message."""
    if message:
        flash(message)
    return redirect(url_for(f"account_pages.{endpoint}"), 303)  # type: ignore[return-value]


@blueprint.route("/login", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def log_in() -> ResponseReturnValue:
    """Log in with address and password."""

    def action(given: Credentials) -> ResponseReturnValue:
        return start_session(given.email, given.password)

    return handle_form(
        "account/login.html",
        Credentials,
        action,
        can_register=get_settings().REGISTRATION,
        next=get_next(),
    )


def start_session(email: str, password: str) -> ResponseReturnValue:
    """Log in, and redirect to the second factor or to the next page."""
    _, required = login.log_in(email, password)
    if required:
        return redirect(url_for("account_factor_pages.second_factor", next=get_next()), 303)
    return redirect(get_next(), 303)


@blueprint.route("/register", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def register() -> ResponseReturnValue:
    """Register."""

    def action(given: Credentials) -> ResponseReturnValue:
        users.register(given.email, given.password)
        return redirect_to("log_in", CHECK_MAIL)

    return handle_form("account/register.html", Credentials, action)


@blueprint.route("/confirm", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def confirm() -> ResponseReturnValue:
    """Confirm an address with the password, and log in."""

    def action(given: Confirmation) -> ResponseReturnValue:
        user = users.confirm(given.token, given.password)
        response = start_session(user.email, given.password)
        # After the login, which begins a new session.
        flash("Your address is confirmed.")
        return response

    return handle_form("account/confirm.html", Confirmation, action)


@blueprint.route("/forgot-password", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def forgot_password() -> ResponseReturnValue:
    """Request a mail with a link to set a new password."""

    def action(given: EmailIn) -> ResponseReturnValue:
        users.request_password_reset(given.email)
        return redirect_to("log_in", CHECK_MAIL)

    return handle_form("account/forgot_password.html", EmailIn, action)


@blueprint.route("/reset-password", methods=["GET", "POST"])
@allow_anonymous
@rate_limit("RATE_LIMIT_LOGIN")
def reset_password() -> ResponseReturnValue:
    """Set a new password by the token of a mail."""

    def action(given: PasswordReset) -> ResponseReturnValue:
        users.reset_password(given.token, given.password)
        return redirect_to("log_in", "Your password is changed. You can log in.")

    return handle_form("account/reset_password.html", PasswordReset, action)


@blueprint.route("/change-address", methods=["GET", "POST"])
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
def change_address() -> ResponseReturnValue:
    """Change the address by the token of a mail and a button: mail programs open links, too."""

    def action(given: TokenIn) -> ResponseReturnValue:
        users.change_address(users.get_current_user(), given.token)
        return redirect_to("overview", "Your address is changed.")

    return handle_form("account/change_address.html", TokenIn, action)


@blueprint.get("")
@requires()
def overview() -> str:
    """Show the account: address, roles, sessions."""
    current = sessions.get_current()
    user = users.get_current_user()
    account = to_account(user.id, user.email)
    rows = sessions.list_of(user.id)
    get_session().commit()
    return render_template("account/overview.html", account=account, sessions=rows, current=current)


@blueprint.route("/reauthenticate", methods=["GET", "POST"])
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
def reauthenticate() -> ResponseReturnValue:
    """Enter the password again."""

    def action(given: PasswordIn) -> ResponseReturnValue:
        login.reauthenticate(users.get_current_user(), given.password)
        return redirect(get_next(), 303)

    return handle_form("account/reauthenticate.html", PasswordIn, action, next=get_next())


@blueprint.route("/password", methods=["GET", "POST"])
@requires()
@rate_limit("RATE_LIMIT_LOGIN")
def password() -> ResponseReturnValue:
    """Change the password."""

    def action(given: PasswordChange) -> ResponseReturnValue:
        user = users.get_current_user()
        login.change_password(user, given.current_password, given.password)
        return redirect_to("overview", "Your password is changed.")

    return handle_form("account/password.html", PasswordChange, action)


@blueprint.route("/address", methods=["GET", "POST"])
@requires()
@fresh_login_required
@rate_limit("RATE_LIMIT_LOGIN")
def address() -> ResponseReturnValue:
    """Request a mail to a new address."""

    def action(given: EmailIn) -> ResponseReturnValue:
        users.request_address_change(users.get_current_user(), given.email)
        return redirect_to("overview", CHECK_MAIL)

    return handle_form("account/address.html", EmailIn, action)


@blueprint.post("/logout")
@requires()
def log_out() -> Response:
    """Log out."""
    sessions.end()
    get_session().commit()
    audit.record("logout")
    return with_clear_site_data(redirect_to("log_in", "You are logged out."))


@blueprint.post(SESSION_ROUTE)
@requires()
def revoke_session(session_id: int) -> Response:
    """Log out in another browser."""
    user_id = sessions.get_current().user_id
    count = int(sessions.revoke(session_id, user_id))
    get_session().commit()
    sessions.record_revoked(count, user_id)
    return redirect_to("overview", "The session has ended.")


@blueprint.post("/sessions")
@requires()
def revoke_sessions() -> Response:
    """Log out everywhere, here too."""
    user_id = sessions.get_current().user_id
    count = sessions.revoke_all(user_id)
    sessions.end()
    get_session().commit()
    sessions.record_revoked(count, user_id)
    return with_clear_site_data(redirect_to("log_in", "You are logged out everywhere."))


def with_clear_site_data(response: Response) -> Response:
    """Let the browser delete what it has stored of this site."""
    response.headers.extend(CLEAR_SITE_DATA)
    return response
