"""The fake server of development and tests."""

import subprocess

import pytest
from scripts import fake_mongodb


def test_server_that_misses_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_mongodb, "MAX_STOP_SECONDS", 0.1)
    monkeypatch.setattr(subprocess.Popen, "terminate", lambda _: None)
    with fake_mongodb.fake_server("memory") as url:
        port = int(url.rpartition(":")[2])
        assert fake_mongodb.is_listening(port)
    assert not fake_mongodb.is_listening(port)
