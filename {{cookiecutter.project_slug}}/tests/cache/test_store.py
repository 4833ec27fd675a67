from flask.testing import FlaskClient


def test_the_cache_is_asked_by_readiness(client: FlaskClient) -> None:
    assert client.get("/health/ready").get_json()["checks"]["cache"]["status"] == "ok"
