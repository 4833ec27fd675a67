from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask
from redis.connection import Connection

from {{ cookiecutter.package_name }}.cache.redis import BATCH, RedisBackend, read
from {{ cookiecutter.package_name }}.config import SettingsError

from ..fixtures.stand_in import StandIn


@pytest.mark.parametrize(
    "url", ["redis://server:port/0", "redis://[::1/0", "redis://server/?colour=red"]
)
def test_a_bad_address_is_refused_in_one_line(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(SettingsError, match="CACHE_URL: expected redis or"):
        make_app(CACHE_URL=url)


def test_many_keys_are_forgotten_in_batches(stand_in: StandIn) -> None:
    backend = RedisBackend(stand_in.url, 1.0)
    keys = [f"key {number}" for number in range(BATCH + 1)]
    for key in keys:
        stand_in.values[key.encode()] = b""
    backend.delete([])
    backend.delete(keys)
    assert not stand_in.values


@pytest.mark.parametrize("answer", [7, b"OK", [b"1"], None])
def test_an_answer_that_is_no_list_of_values_is_an_error(answer: object) -> None:
    connection = Mock(Connection, read_response=Mock(return_value=answer))
    with pytest.raises(TypeError):
        read(connection, ["a", "b"])
