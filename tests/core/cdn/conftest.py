import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

Request = dict[str, Any]
Reply = tuple[int, dict[str, str], str]


@pytest.fixture
def requests() -> list[Request]:
    """The requests that the fake API received."""
    return []


@pytest.fixture
def replies() -> list[Reply]:
    """The next replies of the fake API; without any it replies 201."""
    return []


@pytest.fixture
def api_url(requests: list[Request], replies: list[Reply]) -> Iterator[str]:
    """The URL of a fake of the CDN's API."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            is_json = headers.get("content-type") == "application/json"
            request = {"method": self.command, "path": self.path, "headers": headers}
            requests.append({**request, "body": json.loads(body) if is_json and body else body})
            status, more, text = replies.pop(0) if replies else (201, {}, "<Invalidation/>")
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PURGE = respond  # The names that http.server calls.

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def purge(make_app: Callable[..., Flask], api_url: str) -> Callable[..., Result]:
    """Run `flask cdn purge` against the fake API."""
    settings = {
        "ALLOWED_HOSTS": ".example.com,www.example.com",
        "CDN_API_URL": f"{api_url}/api",
        "CDN_ID": "E1",
        "CDN_TOKEN": "a-token-that-is-secret",
    }

    def run(*words: str, **variables: str) -> Result:
        app = make_app(**{**settings, **variables})
        return app.test_cli_runner().invoke(args=["cdn", "purge", *words])

    return run
