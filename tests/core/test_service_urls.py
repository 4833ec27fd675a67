import pytest

from {{ cookiecutter.package_name }}.core.service_urls import normalize_redis_url

SERVER = "user:p%40@host:1"


@pytest.mark.parametrize("number", ["/3", "?db=3", "/?db=3"])
def test_number_has_one_spelling(number: str) -> None:
    assert normalize_redis_url(f"redis://{SERVER}{number}", "") == f"redis://{SERVER}/3"


@pytest.mark.parametrize("option", ["", "?ssl_cert_reqs=required", "?ssl_cert_reqs=CERT_REQUIRED"])
def test_tls_is_verified(option: str) -> None:
    url = normalize_redis_url(f"rediss://host{option}", "")
    assert url == "rediss://host/0?ssl_cert_reqs=required"


def test_authority_without_tls_is_rejected() -> None:
    with pytest.raises(ValueError, match="without TLS"):
        normalize_redis_url("redis://host", "/ca.pem")


@pytest.mark.parametrize(
    "url", ["redis:", "redis:///0", "redis://host/#0", "redis://host:port", "redis://host/x"]
)
def test_url_without_server_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis|Port"):
        normalize_redis_url(url, "")
