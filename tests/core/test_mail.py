import logging
import socket
from asyncio import Transport
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import SSLContext
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from flask import Flask
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.mail import (
    RejectedError,
    TemporaryMailError,
    init_app,
    send_mail,
)
# {% if cookiecutter.__tasks %}
from {{ cookiecutter.package_name }}.core.tasks import JobError
# {% endif %}

# {% if cookiecutter.__tasks %}
RECIPIENT_ERROR: type[Exception] = JobError
# {% else %}
RECIPIENT_ERROR = RejectedError
# {% endif %}
MAIL = ("ada@example.com", "A kite", "Größe: 3 m\r\n")


class Catcher:
    """SMTP server that stores mails."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.replies = {"RCPT": "250 OK", "DATA": "250 OK"}
        self.leaves_early = False

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.replies["RCPT"]

    async def handle_DATA(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
    ) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, EmailMessage, policy=policy.default)
        self.mails.append(mail)
        return self.replies["DATA"]

    async def handle_QUIT(
        self,
        server: SMTP,
        _session: Session,
        _envelope: Envelope,
    ) -> str:
        if self.leaves_early:
            assert isinstance(server.transport, Transport)
            server.transport.abort()
        return "221 Bye"

    def authenticate(self, *arguments: Any) -> AuthResult:
        login = arguments[4]
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"p@ss/word", handled=False)


@pytest.fixture
def catcher() -> Catcher:
    """An SMTP server; `catch` starts it."""
    return Catcher()


@pytest.fixture
def catch(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Start the server and return its port."""
    monkeypatch.setattr(logging.getLogger("mail.log"), "disabled", True)
    with ExitStack() as stack:

        def start(**options: Any) -> int:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port: int = probe.getsockname()[1]
            controller = Controller(catcher, "127.0.0.1", port, ready_timeout=30, **options)
            controller.start()
            stack.callback(controller.stop)
            return port

        yield start


@pytest.fixture
def tls(certificate: Any, monkeypatch: pytest.MonkeyPatch) -> SSLContext:
    """TLS of a server whose certificate authority is in SMTP_CA_FILE."""
    monkeypatch.setenv("TEST_SMTP_CA_FILE", certificate.ca_file)
    context: SSLContext = certificate.context
    return context


@pytest.fixture
def send(make_app: Callable[..., Flask]) -> Callable[[str], None]:
    """Send a mail to the server of a URL."""

    def send(url: str) -> None:
        app = make_app(SMTP_URL=url, MAIL_DEFAULT_SENDER="shop@example.org")
        init_app(app)
        with app.app_context():
            send_mail(*MAIL)

    return send


def test_mail_is_sent(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
) -> None:
    url = f"smtp://127.0.0.1:{catch()}"
    with bound_contextvars(job_id="0123"):
        send(url)
    send(url)
    first, second = catcher.mails
    assert (first["To"], first["Subject"], first.get_content()) == MAIL
    assert first["From"] == "shop@example.org"
    assert first["Date"].datetime
    assert first["Message-ID"] == "<0123@example.org>"
    assert second["Message-ID"] != first["Message-ID"]
    assert not catcher.logins


# Arguments of aiosmtpd's controller: TLS by STARTTLS, and TLS from the start.
TLS_OPTIONS = {"smtp": "tls_context", "smtps": "ssl_context"}


@pytest.mark.parametrize("scheme", TLS_OPTIONS)
def test_password_is_sent_with_tls(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    tls: SSLContext,
    scheme: str,
) -> None:
    options = {TLS_OPTIONS[scheme]: tls}
    authentication = {"authenticator": catcher.authenticate, "auth_require_tls": scheme == "smtp"}
    address = f"localhost:{catch(**options, **authentication)}"
    send(f"{scheme}://us%40er:p%40ss%2Fword@{address}")
    assert catcher.logins == [(b"us@er", b"p@ss/word")]
    assert len(catcher.mails) == 1
    with pytest.raises(RejectedError, match="535"):
        send(f"{scheme}://user:wrong@{address}")
    assert len(catcher.mails) == 1


def test_password_is_not_sent_without_tls(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
) -> None:
    port = catch(authenticator=catcher.authenticate, auth_require_tls=False)
    with pytest.raises(RejectedError, match="SMTPNotSupportedError"):
        send(f"smtp://user:password@127.0.0.1:{port}")
    assert not catcher.logins
    assert not catcher.mails


@pytest.mark.usefixtures("tls")
def test_named_authority_requires_tls(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
) -> None:
    with pytest.raises(RejectedError, match="SMTPNotSupportedError"):
        send(f"smtp://localhost:{catch()}")
    assert not catcher.mails


@pytest.mark.parametrize("scheme", TLS_OPTIONS)
def test_unknown_authority_is_rejected(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    tls: SSLContext,
    scheme: str,
) -> None:
    options = {TLS_OPTIONS[scheme]: tls}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_SMTP_CA_FILE")
        with pytest.raises(RejectedError, match="SSLCertVerificationError"):
            send(f"{scheme}://localhost:{catch(**options)}")
    assert not catcher.mails


@pytest.mark.parametrize("scheme", TLS_OPTIONS)
def test_wrong_host_name_is_rejected(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    tls: SSLContext,
    scheme: str,
) -> None:
    options = {TLS_OPTIONS[scheme]: tls}
    with pytest.raises(RejectedError, match="SSLCertVerificationError"):
        send(f"{scheme}://127.0.0.1:{catch(**options)}")
    assert not catcher.mails


@pytest.mark.parametrize(("stage", "final"), [("RCPT", RECIPIENT_ERROR), ("DATA", RejectedError)])
def test_temporary_error_is_retried(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    stage: str,
    final: type[Exception],
) -> None:
    url = f"smtp://127.0.0.1:{catch()}"
    for reply, error in (("451 Come back later", TemporaryMailError), ("550 No such user", final)):
        catcher.replies[stage] = reply
        with pytest.raises(error, match=reply[:3]):
            send(url)


def test_unreachable_server_is_retried(send: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(TemporaryMailError, match="refused"):
        send(f"smtp://127.0.0.1:{port}")


def test_lost_connection_after_the_mail_is_no_error(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
) -> None:
    catcher.leaves_early = True
    send(f"smtp://127.0.0.1:{catch()}")
    assert len(catcher.mails) == 1


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.com\r\nBcc: all@example.com", "A kite"),
        ("ada@example.com", "A kite\nBcc: all@example.com"),
    ],
)
def test_header_injection_is_rejected(app: Flask, to: str, subject: str) -> None:
    with app.app_context(), pytest.raises(ValueError, match=r"linefeed|newline"):
        send_mail(to, subject, "")


def test_development_logs_mail(
    send: Callable[[str], None],
    read_logs: Callable[[], list[dict[str, Any]]],
) -> None:
    send("log:")
    (line,) = read_logs()
    assert (line["event"], line["to"], line["subject"], line["text"]) == ("mail", *MAIL)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com:25",
        "smtp://",
        "smtp://mail:port",
        "smtp://user:a#b@mail",
        "smtp://mail?timeout=3",
    ],
)
def test_invalid_smtp_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL: expected"):
        make_app(SMTP_URL=url)
