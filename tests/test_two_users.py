"""Two users and an unknown client through the caches of nginx, Apache and a CDN: no client sees another's data."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from tests.application_servers import application_server, variables_of
from tests.matrix import Combination, answers_with, parametrize_combinations
from tests.proxies import HOST, PROXIES, ProxyResponse, private_folder, send_request
from tests.services import free_port
from tests.test_cdn import configure, varnish

PASSWORD = "three kites over tokyo"  # noqa: S105
EDITOR, READER = "ada@example.com", "grace@example.com"
DRAFT = "SECRET-KITE"

# The last three are for users only. Shared caches store the responses of the first one for unknown clients.
PUBLIC = "/api/v1/products"
PATHS = [PUBLIC, "/products", "/", "/account", "/api/v1/account", "/api/v1/products/1/record"]

COMBINATIONS = [
    Combination(f"users-{name}", answers_with(auth="accounts", database="sqlite", task_queue="none", **answers))
    for name, answers in {
        "nginx": {"reverse_proxy": "nginx", "cdn": "none"},
        "apache": {"reverse_proxy": "apache", "cdn": "none"},
        "cdn": {"reverse_proxy": "none", "cdn": "generic"},
    }.items()
]


class Client(NamedTuple):
    """A client of the site, and texts that only this client may see."""

    port: int
    cookie: str = ""
    texts: tuple[str, ...] = ()

    def get(self, path: str) -> ProxyResponse:
        """Request a path as a browser does."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        return send_request(self.port, path, Accept="text/html, application/json", **headers)


@contextmanager
def front(combination: Combination, project: Path, folder: Path, bind: str) -> Iterator[int]:
    """Run the proxy, or the CDN, in front of an application server within a `with` block; the value is its port."""
    if combination.options["cdn"] != "none":
        port = free_port()
        with varnish(configure("generic", bind), port, folder / "varnish"):
            yield port
    else:
        proxy = PROXIES[str(combination.options["reverse_proxy"])](project, folder, bind)
        with proxy.running():
            yield proxy.http


def log_in(port: int, email: str) -> str:
    """Log in and return the session cookie."""
    body = json.dumps({"email": email, "password": PASSWORD})
    response = send_request(port, "/api/v1/account/login", method="POST", body=body, Content_Type="application/json")
    assert response.status == 200, response.text
    found = re.search(r"__Host-session=[^;]+", response.headers["set-cookie"])
    assert found
    return found[0]


@parametrize_combinations(COMBINATIONS)
def test_no_client_sees_data_of_another(combination: Combination, workspace: Path, venv_bin: Path) -> None:
    """In each order of the clients: the draft and the address of a user are in the user's own responses only."""
    (package,) = (path.name for path in (workspace / "src").iterdir())
    (workspace / ".env").unlink()
    with private_folder() as folder:
        bind, log = f"127.0.0.1:{free_port()}", folder / "server.log"
        settings = {
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "TRUSTED_PROXY_HOPS": "1",
            "HTTP_CACHE_TTL": "600",
            "CDN_CACHE_TTL": "600",
            "CDN_ADDRESSES": str(folder / "addresses.conf"),
            "WEB_CONCURRENCY": "1",
        }
        (folder / "addresses.conf").write_text("127.0.0.1/32\n")
        variables = variables_of(workspace, venv_bin, bind) | settings

        def flask(*words: str, typed: str = "") -> None:
            command: list[str | Path] = [venv_bin / "flask", "--app", f"{package}.wsgi", *words]
            subprocess.run(command, check=True, cwd=workspace, env=variables, input=typed, text=True)

        subprocess.run([venv_bin / "alembic", "upgrade", "head"], check=True, cwd=workspace, env=variables)
        flask("seed")
        flask("users", "create", EDITOR, "--role", "editor", "--password-stdin", typed=PASSWORD)
        flask("users", "create", READER, "--password-stdin", typed=PASSWORD)
        with (
            application_server(workspace, combination, venv_bin, log, bind=bind, **settings),  # type: ignore[arg-type]
            front(combination, workspace, folder, bind) as port,
        ):
            cookies = {email: log_in(port, email) for email in (EDITOR, READER)}
            category = json.loads(send_request(port, "/api/v1/categories").text)[0]["id"]
            product = {"sku": DRAFT, "name": "Aaa", "price_cents": 1, "category_id": category, "draft": True}
            headers = {"Cookie": cookies[EDITOR], "Content_Type": "application/json"}
            created = send_request(port, PUBLIC, method="POST", body=json.dumps(product), **headers)
            assert created.status == 201, created.text

            clients = {
                "editor": Client(port, cookies[EDITOR], (EDITOR, DRAFT)),
                "reader": Client(port, cookies[READER], (READER,)),
                "unknown": Client(port),
            }
            check_all_orders(clients)
            unknown = clients["unknown"]
            before = log.read_text(encoding="utf-8").count(f'"path":"{PUBLIC}"')
            assert {unknown.get(PUBLIC).status for _ in range(5)} == {200}
            after = log.read_text(encoding="utf-8").count(f'"path":"{PUBLIC}"')
            assert after == before


def check_all_orders(clients: dict[str, Client]) -> None:
    """Request all paths by all clients, in each order, with URLs that no cache has stored before."""
    seen: set[tuple[str, str]] = set()
    for number, order in enumerate(permutations(clients)):
        for path in PATHS:
            for name in [*order, *order]:
                response = clients[name].get(f"{path}?order={number}" if path == "/" else path)
                own = clients[name].texts
                others = {text for client in clients.values() for text in client.texts} - {*own}
                assert not any(text in response.text for text in others), (name, path, order)
                seen |= {(name, text) for text in own if text in response.text}
                if name == "unknown":
                    assert "set-cookie" not in response.headers, (path, response.headers)
                elif response.status == 200:
                    assert (
                        "private" in response.headers["cache-control"]
                        or "no-store" in response.headers["cache-control"]
                    ), (name, path, response.headers["cache-control"])
    assert seen == {(name, text) for name, client in clients.items() for text in client.texts}
