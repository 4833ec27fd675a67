import logging
import socket
from asyncio import Transport
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from flask import Flask
from structlog.contextvars import bound_contextvars

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.mail import (
    DelayedError,
    init_app,
    send_mail,
)
from {{ cookiecutter.package_name }}.tasks import JobError

MAIL = ("ada@example.com", "A kite", "Größe: 3 m\r\n")


class Catcher:
    """An SMTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.replies = {"RCPT": "250 OK", "DATA": "250 OK"}
        self.leaves_early = False

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.replies["RCPT"]

    async def handle_DATA(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
    ) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, EmailMessage, policy=policy.default)
        self.mails.append(mail)
        return self.replies["DATA"]

    async def handle_QUIT(  # noqa: N802
        self,
        server: SMTP,
        _session: Session,
        _envelope: Envelope,
    ) -> str:
        if self.leaves_early:
            assert isinstance(server.transport, Transport)
            server.transport.abort()
        return "221 Bye"

    def authenticate(self, *asked: Any) -> AuthResult:
        login = asked[4]
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"p@ss/word", handled=False)


@pytest.fixture
def catcher() -> Catcher:
    """What was caught."""
    return Catcher()


@pytest.fixture
def catch(catcher: Catcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Start the catcher, and return its port."""
    monkeypatch.setattr(logging.getLogger("mail.log"), "disabled", True)
    with ExitStack() as stack:

        def start(**options: Any) -> int:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port: int = probe.getsockname()[1]
            controller = Controller(catcher, "127.0.0.1", port, **options)
            controller.start()
            stack.callback(controller.stop)
            return port

        yield start


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Iterator[SSLContext]:
    """The certificate of `localhost`, by an authority that is trusted here."""
    authority = trustme.CA()
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        yield context


@pytest.fixture
def send(make_app: Callable[..., Flask]) -> Callable[[str], None]:
    """Send a mail by a server."""

    def send(url: str) -> None:
        app = make_app(SMTP_URL=url, MAIL_FROM="shop@example.org")
        init_app(app)
        with app.app_context():
            send_mail(*MAIL)

    return send


def test_a_mail_is_sent(
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


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_is_told_under_tls(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    tls: SSLContext,
    scheme: str,
) -> None:
    options = {"smtp": {"tls_context": tls}, "smtps": {"ssl_context": tls}}[scheme]
    known = {"authenticator": catcher.authenticate, "auth_require_tls": scheme == "smtp"}
    address = f"localhost:{catch(**options, **known)}"
    send(f"{scheme}://us%40er:p%40ss%2Fword@{address}")
    assert catcher.logins == [(b"us@er", b"p@ss/word")]
    assert len(catcher.mails) == 1
    with pytest.raises(JobError, match="535"):
        send(f"{scheme}://user:wrong@{address}")
    assert len(catcher.mails) == 1


def test_without_tls_a_password_is_not_told(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
) -> None:
    port = catch(authenticator=catcher.authenticate, auth_require_tls=False)
    with pytest.raises(JobError, match="SMTPNotSupportedError"):
        send(f"smtp://user:password@127.0.0.1:{port}")
    assert not catcher.logins
    assert not catcher.mails


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_server_that_is_not_who_it_says_gets_nothing(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    tls: SSLContext,
    scheme: str,
) -> None:
    options = {"smtp": {"tls_context": tls}, "smtps": {"ssl_context": tls}}[scheme]
    with pytest.raises(JobError, match="SSLCertVerificationError"):
        send(f"{scheme}://127.0.0.1:{catch(**options)}")
    assert not catcher.mails


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_what_a_server_puts_off_is_worth_another_attempt(
    send: Callable[[str], None],
    catcher: Catcher,
    catch: Callable[..., int],
    stage: str,
) -> None:
    url = f"smtp://127.0.0.1:{catch()}"
    for reply, error in (("451 Come back later", DelayedError), ("550 Nobody here", JobError)):
        catcher.replies[stage] = reply
        with pytest.raises(error, match=reply[:3]):
            send(url)


def test_a_server_that_is_gone_is_worth_another_attempt(send: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(DelayedError, match="refused"):
        send(f"smtp://127.0.0.1:{port}")


def test_a_server_that_leaves_without_a_word_has_the_mail(
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
def test_nobody_adds_a_header(app: Flask, to: str, subject: str) -> None:
    with app.app_context(), pytest.raises(ValueError, match=r"linefeed|newline"):
        send_mail(to, subject, "")


def test_development_logs_mail(
    send: Callable[[str], None],
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    send("log:")
    (line,) = logged()
    assert (line["event"], line["to"], line["subject"], line["text"]) == ("mail", *MAIL)


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://mail.example.com", "smtp://", "smtp://mail:port"]
)
def test_an_address_of_no_server_is_refused(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL: expected"):
        init_app(make_app(SMTP_URL=url))
