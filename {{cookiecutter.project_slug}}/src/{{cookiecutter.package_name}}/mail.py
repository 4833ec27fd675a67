"""E-mail, sent by a job to an SMTP server; development writes it to the log instead."""

import smtplib
import ssl
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import localtime
from http import HTTPStatus
from typing import Annotated, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import structlog
from flask import Flask, current_app
from msgspec import Meta
from structlog.contextvars import get_contextvars

from .config import SettingsError
from .tasks import JobError, job

TIMEOUT = 10.0
PORTS = {"smtp": 587, "smtps": 465, "log": 0}

# In ASCII, since not every server takes another.
PATTERN = r"^[A-Za-z0-9.!#$&'*+/=?^_`~-]+@[A-Za-z0-9][A-Za-z0-9.-]*(?![\s\S])"
EmailAddress = Annotated[str, Meta(max_length=254, pattern=PATTERN)]


class Server(NamedTuple):
    """Who takes our mail."""

    scheme: str
    host: str
    port: int
    user: str
    password: str


class DelayedError(ConnectionError):
    """The server is away, or asks us to come back later."""


def init_app(app: Flask) -> None:
    """Read the server's address; it is connected to for each mail."""
    parts = urlsplit(app.config["SMTP_URL"])
    try:
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if port is None or not (parts.hostname or parts.scheme == "log"):
        raise SettingsError(["SMTP_URL: expected smtp://user:password@host:port, or log:"])
    app.extensions["mail"] = Server(
        parts.scheme,
        parts.hostname or "",
        port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


@job()
def send_mail(to: str, subject: str, text: str) -> None:
    """Send a mail; one that is sent again has the same id, so that it is shown once."""
    sender = current_app.config["MAIL_FROM"]
    key = get_contextvars().get("job_id") or uuid4().hex
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = localtime()
    message["Message-ID"] = f"<{key}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    server: Server = current_app.extensions["mail"]
    if server.scheme == "log":
        structlog.get_logger().info("mail", to=to, subject=subject, text=text)
        return
    try:
        deliver(message, server)
    except OSError as error:
        raise judge(error) from error


def deliver(message: EmailMessage, server: Server) -> None:
    """Hand a mail to the server; a password is told under TLS only."""
    with closing(connect(server, message["From"].rpartition("@")[2])) as smtp:
        if server.user:
            if not isinstance(smtp.sock, ssl.SSLSocket):
                raise smtplib.SMTPNotSupportedError("it has no TLS, which a password needs")
            smtp.login(server.user, server.password)
        smtp.send_message(message)
        # It is sent, even if the server leaves without a word.
        with suppress(OSError):
            smtp.quit()


def connect(server: Server, name: str) -> smtplib.SMTP:
    """Connect, with TLS where it can be had, and greet by our name."""
    context = ssl.create_default_context()
    if server.scheme == "smtps":
        return smtplib.SMTP_SSL(server.host, server.port, name, timeout=TIMEOUT, context=context)
    smtp = smtplib.SMTP(server.host, server.port, name, timeout=TIMEOUT)
    try:
        smtp.ehlo()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
    except OSError:
        smtp.close()
        raise
    return smtp


def judge(error: OSError) -> Exception:
    """Tell what is worth another attempt: no connection, and replies of 4xx; not those of 5xx."""
    code = getattr(error, "smtp_code", 0)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next(iter(error.recipients.values()))[0]
    if isinstance(error, ssl.SSLCertVerificationError | smtplib.SMTPNotSupportedError) or (
        code >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return JobError(f"The mail server did not take the mail ({code or type(error).__name__}).")
    return DelayedError(str(error))
