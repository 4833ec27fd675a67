"""A front end on another origin, in a real browser, with the code of docs/front-end.md."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import Browser, open_browser
from tests.conftest import Run, link_venv
from tests.matrix import DEFAULT, Combination, parametrize_combinations
from tests.services import fetch, free_port, serving

TOKENS = Combination("default-jwt", {**DEFAULT.options, "auth": "jwt"})

EMAIL = "ada@example.com"
PASSWORD = "three kites over tokyo"  # noqa: S105
CATEGORY = "call('POST', '/api/v1/categories', {name: 'Toys'})"


class PageHandler(SimpleHTTPRequestHandler):
    """Handler for an empty page."""

    def do_GET(self) -> None:
        """Respond with an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Front end</title>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving_page() -> Iterator[str]:
    """Serve an empty page on an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", free_port()), PageHandler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, 0.01))
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Site:
    """A project, its `flask` command, and two front ends, of which one is allowed."""

    def __init__(self, url: str, allowed: str, other: str, flask: partial[str]) -> None:
        """`flask` runs a command of the project and returns its output."""
        self.url, self.allowed, self.other, self.flask = url, allowed, other, flask


@pytest.fixture
def site(workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """Serve the project in debug mode, and the pages of two other origins of the same site."""
    port = free_port()
    url = f"http://localhost:{port}"
    with ExitStack() as stack:
        allowed, other = (stack.enter_context(serving_page()) for _ in range(2))
        variables = {
            **clean_env,
            **link_venv(workspace, venv_bin),
            "FLASK_DEBUG": "1",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'test.sqlite3'}",
            "CORS_ORIGINS": allowed,
            "NO_COLOR": "1",
        }
        (package,) = (workspace / "src").iterdir()
        flask: list[str | Path] = [venv_bin / "flask", "--app", f"{package.name}.wsgi"]

        def run_command(*words: str | Path) -> str:
            result = run(*words, cwd=workspace, **variables)
            assert result.returncode == 0, result.stderr
            return result.stdout

        run_command(venv_bin / "alembic", "upgrade", "head")
        command = [*flask, "run", "--no-reload", "--port", str(port)]
        with serving(command, workspace, variables, f"{url}/health/live", tmp_path / "server.log"):
            yield Site(url, allowed, other, partial(run_command, *flask))


def read_code(workspace: Path, site: Site, token: str = "") -> list[str]:
    """Return the code blocks of the page, with the URL of the project."""
    text = (workspace / "docs/front-end.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    return [re.sub(r'"https://api\.[^"]+"', json.dumps(site.url), block).replace("…", token) for block in blocks]


def run_code(browser: Browser, *code: str) -> object:
    """Run code in the page, and return its value, or the message of its error."""
    body = "\n".join(code)
    expression = f"(async () => {{ try {{ {body} }} catch (error) {{ return String(error) }} }})()"
    result = browser.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in result, result
    value: object = result["result"].get("value")
    return value


def create_user(site: Site) -> None:
    """Create a user who may change the catalog."""
    link = site.flask("users", "create", EMAIL, "--role", "editor")
    (token,) = re.findall(r"token=([\w.-]+)", link)
    body = {"token": token, "password": PASSWORD}
    assert fetch(f"{site.url}/api/v1/account/reset-password", method="POST", body=body).status == 204


@parametrize_combinations([DEFAULT])
def test_front_end_logs_in_with_cookies(site: Site, workspace: Path, tmp_path: Path) -> None:
    """An allowed origin logs in, writes and logs out; with the same cookie, another origin can do nothing."""
    create_user(site)
    client, login = read_code(workspace, site)
    credentials = f"const email = {json.dumps(EMAIL)}, password = {json.dumps(PASSWORD)};"
    log_in, read, log_out = login.strip().splitlines()
    with open_browser(tmp_path / "browser") as browser:
        browser.open(site.allowed)
        account = run_code(browser, client, credentials, log_in, read, "return account.email")
        assert account == EMAIL
        assert run_code(browser, client, f"return (await {CATEGORY}).name") == "Toys"
        # A conditional request, with headers that only an allowed origin may send and read.
        product = "{sku: 'KITE-1', name: 'Kite', price_cents: 100, category_id: 1}"
        update = f"""
            await call('POST', '/api/v1/products', {product});
            const path = API + '/api/v1/products/1', credentials = 'include';
            const etag = (await fetch(path, {{credentials}})).headers.get('ETag');
            const headers = {{'Content-Type': 'application/json', 'If-Match': etag}};
            const response = await fetch(path, {{
                method: 'PUT', credentials, headers, body: JSON.stringify({product})
            }});
            return [response.status, Number(response.headers.get('RateLimit-Policy').match(/w=(\\d+)/)[1])];
        """
        assert run_code(browser, client, update) == [200, 60]

        browser.open(site.other)
        assert run_code(browser, client, read, "return account.email") == "TypeError: Failed to fetch"
        # No preflight: the request arrives and is rejected.
        options = "{method: 'POST', credentials: 'include', mode: 'no-cors'}"
        post = f"return (await fetch(API + '/api/v1/account/logout', {options})).type"
        assert run_code(browser, client, post) == "opaque"

        browser.open(site.allowed)
        assert run_code(browser, client, read, "return account.email") == EMAIL
        run_code(browser, client, log_out)
        assert str(run_code(browser, client, read)).startswith("Error: 401: ")


@parametrize_combinations([TOKENS])
def test_front_end_sends_bearer_tokens(site: Site, workspace: Path, tmp_path: Path) -> None:
    """An allowed origin writes with a token; another origin cannot."""
    token = site.flask("create-token", "--role", "editor").strip()
    (client,) = read_code(workspace, site, token)
    write = f"return (await {CATEGORY}).name"
    with open_browser(tmp_path / "browser") as browser:
        browser.open(site.other)
        assert run_code(browser, client, write) == "TypeError: Failed to fetch"
        browser.open(site.allowed)
        assert run_code(browser, client, write) == "Toys"
        assert str(run_code(browser, client.replace(token, "x.y.z"), write)).startswith("Error: 401: ")
