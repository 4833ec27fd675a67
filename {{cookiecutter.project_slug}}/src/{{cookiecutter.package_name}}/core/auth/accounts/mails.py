"""Mails to users.

A request that sends one takes the same time whether the address has an account or not: it does not
read the user. That happens where the mail is sent.
"""

# {% if cookiecutter.task_queue == "none" %}
from threading import Thread

# {% endif %}
# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "none" %}
import structlog
# {% endif %}
from flask import (
    # {% if cookiecutter.task_queue == "none" %}
    Flask,
    # {% endif %}
    current_app,
)
from sqlalchemy import select

from ....config import get_settings
from ...api.openapi import openapi
from ...database import (
    get_session,
    # {% if cookiecutter.task_queue == "none" %}
    on_commit,
    # {% endif %}
)
from ...mail import send_mail
from ...rate_limiting.limiter import get_limiter
# {% if cookiecutter.task_queue == "rq-redis" %}
from ...tasks import job
# {% endif %}
from . import links
from .models import User

TEXTS = {
    "confirm": (
        "Confirm your address",
        (
            "This address was registered. Confirm that it is yours:\n\n{link}\n\n"
            "The link is valid for three days. If it was not you, ignore this mail."
        ),
    ),
    "registered": (
        "You have an account already",
        (
            "This address was registered again, but it has an account already.\n"
            "Log in, or choose a new password:\n\n{link}\n\nIf it was not you, ignore this mail."
        ),
    ),
    "reset-password": (
        "Choose a new password",
        (
            "A new password was requested for this address:\n\n{link}\n\n"
            "The link is valid for one hour. If it was not you, ignore this mail."
        ),
    ),
    "change-address": (
        "Confirm your new address",
        (
            "This address is to become the address of an account:\n\n{link}\n\n"
            "The link is valid for one day. If it was not you, ignore this mail."
        ),
    ),
    "address-changed": (
        "Your address was changed",
        "The address of your account was changed. If it was not you, ask the operators for help.",
    ),
    "factor-added": (
        "Your account has a second factor",
        (
            "Logins to your account need a second factor now. If it was not you, choose a new "
            "password, and ask the operators for help:\n\n{link}"
        ),
    ),
    "passkey-added": (
        "Your account has a new passkey",
        (
            "A passkey was added to your account. Logins with your password need it now, or "
            "another second factor. If it was not you, choose a new password, and ask the "
            "operators for help:\n\n{link}"
        ),
    ),
    "factor-removed": (
        "A second factor was removed",
        (
            "A second factor of your account was removed. If it was not you, choose a new password:"
            "\n\n{link}"
        ),
    ),
    "password-changed": (
        "Your password was changed",
        "The password of your account was changed. If it was not you, choose a new one:\n\n{link}",
    ),
}


def queue_mail(kind: str, email: str, *, user_id: int = 0) -> None:
    """Send a mail after the commit, and not in this request; at most some an hour to each address.

    `kind` is "registration", "reset-password", or a key of `TEXTS`. `user_id` is the user who
    changes their address to `email`.
    """
    limiter = get_limiter("account-mails", get_settings().RATE_LIMIT_ACCOUNT_MAILS)
    count, _ = limiter.count(current_app.extensions["rate_limiting"], f"email {email}")
    if count > limiter.limit:
        return
    arguments = (kind, email, links.base_url(), user_id)
    # {% if cookiecutter.__tasks %}
    send_account_mail.delay(*arguments)
    # {% else %}
    # Private: the proxy's object, since the thread has no application context of its own.
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    on_commit(Thread(target=send_in_thread, args=(app, *arguments)).start)
    # {% endif %}


# {% if cookiecutter.task_queue == "none" %}
def send_in_thread(app: Flask, *arguments: str | int) -> None:
    """Send a mail; an error is logged."""
    with app.app_context():
        try:
            send_account_mail(*arguments)  # type: ignore[arg-type]
        except Exception as error:
            structlog.get_logger().error("mail not sent", error=str(error))


# {% endif %}
# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job()
# {% endif %}
def send_account_mail(kind: str, email: str, base_url: str, user_id: int = 0) -> None:
    """Send a mail, if the user is in the state for it. The token in its link is created here."""
    condition = User.id == user_id if user_id else User.email == email
    user = get_session().scalar(select(User).where(condition))
    get_session().commit()
    if user is None or user.disabled_at:
        return
    token = ""
    if kind == "registration":
        kind = "registered" if user.confirmed_at else "confirm"
    if kind in links.MAX_AGES:
        new_email = email if kind == "change-address" else ""
        token = links.create_token(kind, user, new_email)
    subject, text = TEXTS[kind]
    link = make_link(kind, base_url, token)
    send_mail(email, f"[{openapi.config.title}] {subject}", text.format(link=link))


def make_link(kind: str, base_url: str, token: str) -> str:
    """Return the link of a mail."""
    if token:
        return f"{base_url}/{kind}?token={token}"
    return f"{base_url}/forgot-password"
