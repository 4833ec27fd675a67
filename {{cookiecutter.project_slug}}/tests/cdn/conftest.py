import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

Request = dict[str, Any]
Answer = tuple[int, dict[str, str], str]


@pytest.fixture
def asked() -> list[Request]:
    """What the CDN's interface was asked."""
    return []


@pytest.fixture
def answers() -> list[Answer]:
    """What the interface answers to the next requests; after them it is content."""
    return []


@pytest.fixture
def interface(asked: list[Request], answers: list[Answer]) -> Iterator[str]:
    """The address of a server that plays the CDN's interface."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            is_json = headers.get("content-type") == "application/json"
            request = {"method": self.command, "path": self.path, "headers": headers}
            asked.append({**request, "body": json.loads(body) if is_json and body else body})
            status, more, text = answers.pop(0) if answers else (201, {}, "<Invalidation/>")
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PURGE = respond  # noqa: N815 - so the library calls them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def purge(make_app: Callable[..., Flask], interface: str) -> Callable[..., Result]:
    """Run `flask cdn purge` against the interface."""
    settings = {
        "ALLOWED_HOSTS": ".example.com,www.example.com",
        "CDN_API_URL": f"{interface}/api",
        "CDN_ID": "E1",
        "CDN_TOKEN": "a-token-that-nobody-sees",
    }

    def run(*words: str, **variables: str) -> Result:
        app = make_app(**{**settings, **variables})
        return app.test_cli_runner().invoke(args=["cdn", "purge", *words])

    return run
