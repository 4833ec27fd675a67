"""Accounts in a real browser, from the registration to the logout."""

import hmac
import re
import struct
import time
from base64 import b32decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, open_browser
from tests.conftest import Run, link_venv
from tests.matrix import DEFAULT, parametrize_combinations
from tests.services import free_port, serving

EMAIL = "ada@example.com"
PASSWORD = "three kites over tokyo"  # noqa: S105
WRONG_PASSWORD = "three kites over kyoto"  # noqa: S105
NEW_PASSWORD = "seven lanterns in a cave"  # noqa: S105

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Site:
    """A project that serves pages in debug mode, and logs its mails."""

    def __init__(self, url: str, log: Path) -> None:
        """`log` is the file with the output of the server."""
        self.url, self.log = url, log

    def link(self, path: str) -> str:
        """Return the last link in a mail to a page."""
        text = self.log.read_text(encoding="utf-8")
        return str(re.findall(rf"{re.escape(self.url)}/account/{path}\?token=[\w.-]+", text)[-1])


@pytest.fixture
def site(workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """Serve the project. Browsers allow passkeys for `localhost`, and not for an IP address."""
    port = free_port()
    url = f"http://localhost:{port}"
    variables = {
        **clean_env,
        **link_venv(workspace, venv_bin),
        "FLASK_DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'test.sqlite3'}",
        "NO_COLOR": "1",
    }
    migrated = run(venv_bin / "alembic", "upgrade", "head", cwd=workspace, **variables)
    assert migrated.returncode == 0, migrated.stderr
    (package,) = (workspace / "src").iterdir()
    command: list[str | Path] = [
        venv_bin / "flask",
        "--app",
        f"{package.name}.wsgi",
        "run",
        "--no-reload",
        "--port",
        str(port),
    ]
    log = tmp_path / "server.log"
    with serving(command, workspace, variables, f"{url}/health/live", log):
        yield Site(url, log)


def totp(secret: str) -> str:
    """Return the current code of an authenticator app (RFC 6238)."""
    digest = hmac.digest(b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    offset = digest[-1] & 15
    (number,) = struct.unpack(">I", digest[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def register_and_confirm(browser: Browser, site: Site) -> None:
    """Register by the form and the link in the mail, which logs in."""
    browser.open(f"{site.url}/account/register")
    browser.submit(email=EMAIL, password=PASSWORD)
    assert browser.path() == "/account/login"
    assert "We have sent you a mail" in browser.text()
    browser.open(site.link("confirm"))
    browser.submit(password=PASSWORD)
    assert browser.path() == "/account"
    assert "Your address is confirmed" in browser.text()
    assert "this browser" in browser.text()


def log_out(browser: Browser, site: Site) -> None:
    """Log out, and open a page that redirects to the login then."""
    browser.open(f"{site.url}/account")
    browser.click("Log out")
    assert "You are logged out." in browser.text()
    browser.open(f"{site.url}/account")
    assert browser.path() == "/account/login"


def add_authenticator_app(browser: Browser, site: Site) -> list[str]:
    """Set up an authenticator app, and return the recovery codes."""
    browser.open(f"{site.url}/account/totp")
    assert browser.evaluate("document.querySelector('main img').naturalWidth > 100")
    browser.submit(code=totp(str(browser.evaluate("document.querySelector('#secret').textContent"))))
    codes = str(browser.evaluate("document.querySelector('#codes').innerText")).split()
    assert len(codes) == 10
    return codes


def add_passkey(browser: Browser, site: Site) -> None:
    """Create a passkey on a virtual device."""
    browser.call("WebAuthn.enable")
    browser.call("WebAuthn.addVirtualAuthenticator", options=AUTHENTICATOR)
    browser.open(f"{site.url}/account/passkeys")
    browser.evaluate("document.querySelector('#name').value = 'My laptop'")
    browser.click("Create passkey")
    assert "My laptop" in browser.text()


@parametrize_combinations([DEFAULT])
def test_browser_registers_logs_in_and_resets_the_password(site: Site, tmp_path: Path) -> None:
    """A person registers, adds a second factor and a passkey, and logs in with each of them."""
    with open_browser(tmp_path / "browser") as browser:
        register_and_confirm(browser, site)
        log_out(browser, site)
        browser.submit(email=EMAIL, password=WRONG_PASSWORD)
        assert "The address or the password is wrong." in browser.text()
        browser.submit(email=EMAIL, password=PASSWORD)
        assert browser.path() == "/account"
        codes = add_authenticator_app(browser, site)
        add_passkey(browser, site)
        log_out(browser, site)

        browser.submit(email=EMAIL, password=PASSWORD)
        assert browser.path() == "/account/second-factor"
        browser.submit(code=codes[0])
        assert browser.path() == "/account"
        log_out(browser, site)

        browser.submit(email=EMAIL, password=PASSWORD)
        browser.click("Use a passkey")
        assert browser.path() == "/account"
        log_out(browser, site)

        browser.click("Log in with a passkey")
        assert browser.path() == "/account"
        log_out(browser, site)

        browser.open(f"{site.url}/account/forgot-password")
        browser.submit(email=EMAIL)
        browser.open(site.link("reset-password"))
        browser.submit(password=NEW_PASSWORD)
        assert browser.path() == "/account/login"
        browser.submit(email=EMAIL, password=NEW_PASSWORD)
        assert browser.path() == "/account/second-factor"
        browser.submit(code=codes[1])
        assert browser.path() == "/account"
        log_out(browser, site)


@parametrize_combinations([DEFAULT])
def test_first_passkey_has_recovery_codes(site: Site, tmp_path: Path) -> None:
    """A person with a passkey only logs in with the password and a recovery code, after the device was lost."""
    with open_browser(tmp_path / "browser") as browser:
        register_and_confirm(browser, site)
        browser.call("WebAuthn.enable")
        browser.call("WebAuthn.addVirtualAuthenticator", options=AUTHENTICATOR)
        browser.open(f"{site.url}/account/passkeys")
        browser.evaluate("document.querySelector('[data-passkey]').click()")
        browser.wait_for("document.querySelectorAll('#codes li').length === 10")
        codes = str(browser.evaluate("document.querySelector('#codes').innerText")).split()
        log_out(browser, site)
        browser.submit(email=EMAIL, password=PASSWORD)
        assert browser.path() == "/account/second-factor"
        browser.submit(code=codes[0])
        assert browser.path() == "/account"
