from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_index_returns_name_and_links(client: FlaskClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    index = response.get_json()
    assert index["name"]
    assert index["version"]
    for name in ("documentation", "openapi", "health"):
        assert client.get(index[name], buffered=True).status_code == 200


def test_browser_is_redirected_to_the_documentation(client: FlaskClient) -> None:
    response = client.get("/", headers=BROWSER)
    assert (response.status_code, response.location) == (302, "/docs")
    assert response.headers["Vary"] == "Accept"
