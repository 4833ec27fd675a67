import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import ECKey
from werkzeug.exceptions import ServiceUnavailable

from {{ cookiecutter.package_name }}.core.auth import jwks
from {{ cookiecutter.package_name }}.core.auth.jwks import KeySetCache


class Issuer(ThreadingHTTPServer):
    """A server on loopback whose keys a test sets."""

    kids: list[str | None]
    requests = 0
    status = 200
    delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/jwks.json"


class Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        self.server.requests += 1
        time.sleep(self.server.delay)
        keys = [key(kid) for kid in self.server.kids]
        body = json.dumps({"keys": keys}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def key(kid: str | None) -> dict[str, Any]:
    values = ECKey.generate_key("P-256").as_dict(private=False)
    values.pop("kid", None)
    return {**values, **({"kid": kid} if kid else {})}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer(("127.0.0.1", 0), Handler) as server:
        server.kids = ["one"]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Function that moves the clock of the cache forward."""
    moved = 0.0

    def move(seconds: float) -> None:
        nonlocal moved
        moved += seconds

    fake = SimpleNamespace(monotonic=lambda: time.monotonic() + moved)
    monkeypatch.setattr(jwks, "time", fake)
    return move


def token(kid: str | None) -> Any:
    return SimpleNamespace(headers=lambda: {"kid": kid} if kid else {})


def test_keys_are_fetched_once(issuer: Issuer) -> None:
    cache = KeySetCache(issuer.url)
    assert all(cache.find_key(token("one")).kid == "one" for _ in range(5))
    assert issuer.requests == 1


def test_new_key_is_found_without_a_restart(issuer: Issuer, clock: Callable[[float], None]) -> None:
    cache = KeySetCache(issuer.url)
    cache.find_key(token("one"))
    issuer.kids = ["one", "two"]
    clock(11)
    assert cache.find_key(token("two")).kid == "two"


def test_removed_key_is_rejected_after_the_ttl(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    cache = KeySetCache(issuer.url)
    cache.find_key(token("one"))
    issuer.kids = ["two"]
    clock(jwks.TTL + 1)
    with pytest.raises(InvalidKeyIdError):
        cache.find_key(token("one"))


def test_unknown_keys_cause_no_flood_of_requests(issuer: Issuer) -> None:
    cache = KeySetCache(issuer.url)
    for number in range(50):
        with pytest.raises(InvalidKeyIdError):
            cache.find_key(token(f"unknown-{number}"))
    assert issuer.requests == 1


def test_concurrent_requests_fetch_the_keys_once(issuer: Issuer) -> None:
    issuer.delay = 0.2
    cache = KeySetCache(issuer.url)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: cache.find_key(token("one")).kid, range(8))]
    assert found == ["one"] * 8
    assert issuer.requests == 1


def test_single_key_needs_no_id(issuer: Issuer) -> None:
    issuer.kids = [None]
    assert KeySetCache(issuer.url).find_key(token(None))
    issuer.kids = ["one"]
    assert KeySetCache(issuer.url).find_key(token(None)).kid == "one"
    issuer.kids = ["one", "two"]
    with pytest.raises(InvalidKeyIdError):
        KeySetCache(issuer.url).find_key(token(None))


@pytest.mark.parametrize("status", [404, 500])
def test_failed_request_keeps_the_keys(
    issuer: Issuer, clock: Callable[[float], None], status: int
) -> None:
    cache = KeySetCache(issuer.url)
    cache.find_key(token("one"))
    issuer.status = status
    clock(jwks.TTL + 1)
    assert cache.find_key(token("one")).kid == "one"


def test_issuer_without_response_returns_503_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        cache = KeySetCache(f"http://127.0.0.1:{server.getsockname()[1]}/")
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            cache.find_key(token("one"))
        # The next request does not wait, too.
        with pytest.raises(ServiceUnavailable):
            cache.find_key(token("one"))
        assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"keys": 1}', '{"keys": [{}]}', '{"keys": [{"kty": "x"}]}']
)
def test_malformed_keys_return_503(tmp_path: Any, body: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(body, encoding="utf-8")
    with pytest.raises(ServiceUnavailable):
        KeySetCache(file.as_uri()).find_key(token("one"))
