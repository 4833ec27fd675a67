from prometheus_client import REGISTRY

from {{ cookiecutter.package_name }}.core.monitoring import (
    call_finished,
)
from {{ cookiecutter.package_name }}.core.monitoring.conventions import (
    name_hosts,
)

NAME = "http_client_request_duration_seconds_count"


def count(host: str, status: str) -> float:
    """Return the number of requests."""
    labels = {"server_address": host, "http_response_status_code": status}
    return REGISTRY.get_sample_value(NAME, labels) or 0


def test_hosts_of_clients_make_one_series() -> None:
    before = count("other", "200")
    for number in range(100):
        call_finished(f"{number}.example.com", 200, 0.1)
    assert count("other", "200") == before + 100
    assert count("1.example.com", "200") == 0


def test_upstreams_have_series_of_their_own() -> None:
    name_hosts(["api.example.com"])
    call_finished("api.example.com", None, 0.1)
    assert count("api.example.com", "") == 1
