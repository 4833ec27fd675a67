from flask.testing import FlaskClient

NOTES = "/api/v1/notes"


def test_greeting_is_cached(client: FlaskClient) -> None:
    response = client.get(NOTES)
    assert response.get_json() == ["Hello"]
    assert "public" in response.headers["Cache-Control"]


def test_letters_are_counted(client: FlaskClient) -> None:
    response = client.post(NOTES)
    assert response.status_code == 202
    job = client.get(response.headers["Location"]).get_json()
    assert job["state"] == "succeeded"
    assert job["result"] == 5
