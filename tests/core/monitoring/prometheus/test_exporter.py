import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.monitoring.prometheus import exporter
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.endpoint import (
    MetricsEndpoint,
    parse_networks,
)
from {{ cookiecutter.package_name }}.core.monitoring.prometheus.tasks import (
    not_found,
)


@pytest.fixture
def bind(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an exporter whose metrics are `up 1`."""
    servers: list[exporter.Server] = []

    class Server(exporter.Server):
        def server_activate(self) -> None:
            servers.append(self)
            super().server_activate()

    monkeypatch.setattr(exporter, "Server", Server)
    endpoint = MetricsEndpoint(not_found, parse_networks(["127.0.0.1/32"]), lambda: b"up 1\n")
    exporter.serve("127.0.0.1:0", endpoint)
    (server,) = servers
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def request(bind: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Return status and body of a response."""
    connection = HTTPConnection(bind, timeout=5)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_exporter_serves_metrics_only(bind: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert request(bind, "/metrics") == (200, b"up 1\n")
    assert request(bind, "/other")[0] == 404
    assert request(bind, "/metrics", Via="proxy")[0] == 403
    assert capfd.readouterr().err == ""


def test_idle_client_does_not_block_others(bind: str) -> None:
    host, _, port = bind.partition(":")
    with socket.create_connection((host, int(port))):
        assert request(bind, "/metrics")[0] == 200


def test_debug_mode_rejects_public_addresses() -> None:
    with pytest.raises(SettingsError, match="METRICS_BIND: expected a loopback address"):
        load_settings({"FLASK_DEBUG": "1", "METRICS_BIND": "0.0.0.0:9464"})


def test_used_port_is_logged(bind: str, capsys: pytest.CaptureFixture[str]) -> None:
    exporter.serve(bind, not_found)
    assert "set METRICS_BIND" in capsys.readouterr().out
