from collections.abc import Callable

from flask import Flask


def test_requests_of_a_client_are_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT="2/day").test_client()
    responses = [client.get("/nowhere") for _ in range(3)]
    assert [response.status_code for response in responses] == [404, 404, 429]
    assert 0 < int(responses[2].headers["Retry-After"]) <= 24 * 3600
    assert responses[2].headers["RateLimit-Policy"] == '"requests";q=2;w=86400'
    assert responses[2].headers["RateLimit"].startswith('"requests";r=0;t=')
    # The header would cost every request more than the limit itself.
    assert "RateLimit" not in responses[0].headers
    other = {"REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/nowhere", environ_base=other).status_code == 404


def test_probes_and_static_files_are_not_limited(make_app: Callable[..., Flask]) -> None:
    client = make_app(RATE_LIMIT="1/day").test_client()
    for path in ("/health/live", "/docs/swagger/index.css"):
        assert {client.get(path, buffered=True).status_code for _ in range(3)} == {200}
