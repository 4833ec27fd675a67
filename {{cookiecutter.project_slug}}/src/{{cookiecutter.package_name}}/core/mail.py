"""E-mail, sent to an SMTP server; in development it is logged."""

import smtplib
import ssl
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import localtime
from http import HTTPStatus
from typing import Annotated, NamedTuple
from urllib.parse import unquote
from uuid import uuid4

import structlog
# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Flask, current_app
from msgspec import Meta
from structlog.contextvars import get_contextvars

from ..config import RENAMED, Settings, get_settings, register_client, take_client
from .service_urls import split_server_url
# {% if cookiecutter.__tasks %}
from .tasks.jobs import JobError
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
from .tasks.rq import job
# {% endif %}

RENAMED.update(MAIL_FROM="MAIL_DEFAULT_SENDER")

# Seconds for each network operation.
TIMEOUT = 10.0
PORTS = {"smtp": 587, "smtps": 465}

# ASCII only: not every server supports SMTPUTF8.
PATTERN = r"^[A-Za-z0-9.!#$&'*+/=?^_`~-]+@[A-Za-z0-9][A-Za-z0-9.-]*(?![\s\S])"
EmailAddress = Annotated[str, Meta(max_length=254, pattern=PATTERN)]


class Server(NamedTuple):
    """SMTP server."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    ca_file: str


class RejectedError(Exception):
    """The server rejected the mail for good: the mail or SMTP_URL is wrong."""


class TemporaryMailError(ConnectionError):
    """The server is unreachable or reports a temporary error: another attempt may succeed."""


def init_app(app: Flask) -> None:
    """Take the server in SMTP_URL; each mail uses a connection of its own."""
    app.extensions["mail"] = take_client("SMTP_URL", get_settings(app))


def parse_url(_name: str, settings: Settings) -> Server:
    """Parse SMTP_URL; raise `KeyError` or `ValueError` if it is invalid."""
    url = settings.SMTP_URL
    if url == "log:":
        return Server("log", "", 0, "", "", "")
    parts = split_server_url(url)
    default_port = PORTS[parts.scheme]
    if parts.path.strip("/") or parts.query:
        raise ValueError(url)
    return Server(
        parts.scheme,
        parts.hostname or "",
        parts.port or default_port,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        settings.SMTP_CA_FILE,
    )


register_client(parse_url, "SMTP_URL", expected="smtp://user:password@host:port or log:")


# {% if cookiecutter.__celery %}
@shared_task
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job()
# {% endif %}
def send_mail(to: str, subject: str, text: str) -> None:
    """Send a mail. All attempts have the same Message-ID, so mail programs show it once."""
    sender = get_settings().MAIL_DEFAULT_SENDER
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
        smtp_send(message, server)
    except OSError as error:
        raise classify_error(error) from error


def smtp_send(message: EmailMessage, server: Server) -> None:
    """Send a mail to the server; a password or SMTP_CA_FILE requires TLS."""
    with closing(connect(server, message["From"].rpartition("@")[2])) as smtp:
        needs_tls = server.user or server.ca_file
        if needs_tls and not isinstance(smtp.sock, ssl.SSLSocket):
            raise smtplib.SMTPNotSupportedError("the server has no TLS, which a password requires")
        if server.user:
            smtp.login(server.user, server.password)
        smtp.send_message(message)
        # The mail is sent even if the server closes the connection now.
        with suppress(OSError):
            smtp.quit()


def connect(server: Server, name: str) -> smtplib.SMTP:
    """Connect, with TLS if the server offers it; `name` is the argument of EHLO."""
    context = ssl.create_default_context(cafile=server.ca_file or None)
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


def classify_error(error: OSError) -> Exception:
    """Return a temporary error for a lost connection and replies of 4xx, a final one for 5xx."""
    final: type[Exception] = RejectedError
    code = getattr(error, "smtp_code", 0)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next(iter(error.recipients.values()))[0]
        # {% if cookiecutter.__tasks %}
        # A client may have named the recipient: it is no error of the application.
        final = JobError
        # {% endif %}
    if isinstance(error, ssl.SSLCertVerificationError | smtplib.SMTPNotSupportedError) or (
        code >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return final(f"The mail server rejected the mail ({code or type(error).__name__}).")
    return TemporaryMailError(str(error))
