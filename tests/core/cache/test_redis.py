from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.config import SettingsError
from {{ cookiecutter.package_name }}.core.cache.redis import (
    BATCH_SIZE,
    RedisBackend,
)

from ..fixtures.cache_server import CacheServer


@pytest.mark.parametrize(
    "url",
    [
        "redis://server:port/0",
        "redis://[::1/0",
        "redis://server/?colour=red",
        "rediss://server/?ssl_cert_reqs=perhaps",
        "rediss://server/?ssl_ca_certs=/missing.pem",
        "redis://:a#b@server/0",
        "redis://server/name",
    ],
)
def test_malformed_url_is_rejected(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL: expected redis://user:password@"):
        make_app(CACHE_URL=url)


def test_many_keys_are_deleted_in_batches(cache_server: CacheServer) -> None:
    backend = RedisBackend(cache_server.url, 10)
    keys = [f"key {number}" for number in range(BATCH_SIZE + 1)]
    backend.client.mset(dict.fromkeys(keys, ""))
    backend.delete([])
    assert sorted(backend.keys("key ")) == sorted(keys)
    backend.delete(keys)
    assert list(backend.keys("")) == []


@pytest.mark.parametrize("reply", [7, b"OK", [b"1"], None])
def test_malformed_reply_is_an_error(reply: object) -> None:
    backend = RedisBackend("redis://127.0.0.1", 10)
    backend.client = Mock(mget=Mock(return_value=reply))
    with pytest.raises(TypeError):
        backend.get_many(["a", "b"])
