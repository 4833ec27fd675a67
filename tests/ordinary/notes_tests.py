import pytest


@pytest.fixture
def note(client):
    return client.post("/notes/", json={"title": "Milk", "body": "2 liters"}).json


def test_list(client, note):
    assert client.get("/notes/").json == [note]
    assert client.get("/notes/?page=2").json == []


def test_page(client, note):
    response = client.get("/notes/", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert "<li>Milk</li>" in response.text


@pytest.mark.parametrize("title", ["", "x" * 81])
def test_create_rejects_title(client, title):
    response = client.post("/notes/", json={"title": title})
    assert response.status_code == 400
    assert "1 to 80" in response.json["error"]


def test_done(client, note):
    response = client.post(f"/notes/{note['id']}/done")
    assert response.json["done"] is True
    assert response.json["stars"] == 1
    assert client.get("/notes/stats").json == {"total": 1, "done": 1, "percent": 100}


def test_delete(client, note):
    assert client.delete(f"/notes/{note['id']}").status_code == 204
    assert client.delete(f"/notes/{note['id']}").status_code == 404
