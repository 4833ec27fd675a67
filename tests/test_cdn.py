"""Projects behind a CDN: a real caching proxy plays it, and a server on loopback its interface."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from tests.answers import DEFAULT, OPTIONS, PROJECT, Row, Value, each
from tests.conftest import Run
from tests.edge import application_server, variables_of
from tests.services import PATIENCE, Answer, free_port, program, serving

HOST = "example.com"
OWN = "127.0.0.3"  # the address of a client that is not the CDN
LIST = "/api/v1/categories"


def behind(cdn: Value) -> Row:
    """A project with this CDN right in front of its application, which needs no other server."""
    answers = {"database": "sqlite", "cache": "none", "reverse_proxy": "none", "cdn": cdn}
    return Row(f"behind-{cdn}", {**DEFAULT.options, **answers})


CDNS = [behind(cdn) for cdn in OPTIONS["cdn"] if cdn != "none"]


class Speech(NamedTuple):
    """How a provider is told of lifetimes and tags: the header, and what stands in it before a lifetime."""

    lifetime: str
    before: str
    tags: str
    between: str


SPEECH: dict[Value, Speech] = {
    "cloudflare": Speech("CDN-Cache-Control", "max-age", "Cache-Tag", ","),
    "cloudfront": Speech("Cache-Control", "s-maxage", "Cache-Tag", ","),
    "fastly": Speech("Surrogate-Control", "max-age", "Surrogate-Key", " "),
    "generic": Speech("CDN-Cache-Control", "max-age", "Surrogate-Key", " "),
}


def say(port: int, method: str, path: str, body: object = None, source: str = "", **headers: str) -> Answer:
    """Ask the server on a port, from an address of one's own if one is named."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0) if source else None)
    try:
        names = {"Host": HOST, "Content-Type": "application/json", **headers}
        names = {name.replace("_", "-"): value for name, value in names.items()}
        connection.request(method, path, None if body is None else json.dumps(body), names)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def forget(varnish: int, cdn: Value, request: BaseHTTPRequestHandler, body: str) -> None:
    """Do what the provider's interface is asked to do, with what plays it."""
    paths: list[str] = []
    tags: list[str] = []
    if cdn == "cloudflare":
        assert request.path == "/zones/E1/purge_cache"
        assert request.headers["Authorization"] == "Bearer token"
        asked = json.loads(body)
        tags, paths = asked.get("tags", []), asked.get("files", [])
    elif cdn == "cloudfront":
        assert re.fullmatch(r"/[\d-]+/distribution/E1/invalidation", request.path)
        items = re.findall("<Path>(.*?)</Path>", body)
        tags, paths = [item[1:] for item in items if item[0] == "#"], [item for item in items if item[0] == "/"]
    elif cdn == "fastly":
        assert request.headers["Fastly-Key"] == "token"
        if request.path == "/service/E1/purge":
            tags = json.loads(body)["surrogate_keys"]
        else:
            assert request.path.startswith(f"/purge/{HOST}/")
            paths = [request.path.removeprefix(f"/purge/{HOST}")]
    for path in paths:
        assert say(varnish, "PURGE", path.removeprefix(f"https://{HOST}")).status == 200
    if tags:
        assert say(varnish, "PURGE", "/", Surrogate_Key=" ".join(tags)).status == 200


@contextmanager
def interface(varnish: int, cdn: Value) -> Iterator[str]:
    """The provider's interface, for as long as the block takes; that of Varnish is its own."""
    if cdn == "generic":
        yield f"http://127.0.0.1:{varnish}"
        return

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the library calls it so
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            forget(varnish, cdn, self, body)
            self.send_response(201)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b"<Invalidation/>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def varnish(vcl: str, port: int, folder: Path) -> Iterator[None]:
    """Varnish with a configuration, for as long as the block takes."""
    folder.mkdir()
    (folder / "site.vcl").write_text(vcl, encoding="utf-8")
    # Without the jail of a package it does not change its user, whoever that is.
    command = [program("varnishd", "varnish"), "-F", "-j", "none", "-n", folder / "work", "-f", folder / "site.vcl"]
    where = ["-a", f"127.0.0.1:{port}", "-s", "malloc,16m", "-p", "ban_lurker_sleep=0"]
    health = f"http://127.0.0.1:{port}/health/live"
    with serving([*command, *where], folder, {"PATH": "/usr/bin:/bin"}, health, folder / "log"):
        yield


def configure(cdn: Value, origin: str) -> str:
    """Make the configuration for Varnish, which a project with `cdn=generic` has, hear what a provider hears."""
    text = (PROJECT / "deploy" / "cdn" / "varnish.vcl").read_text(encoding="utf-8")
    speech, own = SPEECH[cdn], SPEECH["generic"]
    head, _, rest = text.partition("sub vcl_backend_response")
    rest = rest.replace(own.lifetime, speech.lifetime).replace(f"{own.before}=", f"{speech.before}=")
    head = head.replace(f"obj.http.{own.tags}", f"obj.http.{speech.tags}").replace(r"\s", rf"[\s{speech.between}]")
    if cdn == "cloudfront":
        # Browsers are told by the same header.
        rest = rest.replace("    unset resp.http.Cache-Control;\n", "")
    port = origin.rpartition(":")[2]
    return f"{head}sub vcl_backend_response{rest}".replace('.port = "8000"', f'.port = "{port}"')


@each(CDNS)
def test_the_cdn_keeps_what_is_public_until_it_is_purged(
    row: Row, workspace: Path, environment: Path, run: Run, tmp_path: Path
) -> None:
    """A second request never reaches the origin, a purge makes it, and nothing personal is ever kept."""
    cdn, port = row.options["cdn"], free_port()
    (workspace / ".env").unlink()
    (package,) = (path.name for path in (workspace / "src").iterdir())
    (tmp_path / "addresses.conf").write_text("127.0.0.1/32\n")
    with interface(port, cdn) as api:
        settings = {
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
            "RATE_LIMIT_WRITES": "4/day",
            "TRUSTED_PROXY_HOPS": "1",
            "CDN_ADDRESSES": str(tmp_path / "addresses.conf"),
            "CDN_API_URL": api,
            "CDN_ID": "E1",
            "CDN_TOKEN": "token",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "WEB_CONCURRENCY": "1",
            "LOG_LEVEL": "INFO",
        }

        variables = variables_of(workspace, environment, "127.0.0.1:1") | settings

        def flask(*commands: str) -> None:
            # Several in one process, since each would take a second to start.
            script = f"from {package}.wsgi import app\nfor words in {commands!r}:\n"
            invoke = "    print(app.test_cli_runner(catch_exceptions=False).invoke(args=words.split()).output)"
            result = run(environment / "python", "-c", script + invoke, cwd=workspace, **variables)
            assert result.returncode == 0, result.stdout + result.stderr

        flask("db upgrade", "seed")
        log = tmp_path / "server.log"
        with (
            application_server(workspace, row, environment, log, **settings) as upstream,
            varnish(configure(cdn, upstream.bind), port, tmp_path / "varnish"),
        ):

            def reached(path: str = LIST) -> int:
                return log.read_text().count(f'"path":"{path}"')

            def names() -> list[str]:
                answer = say(port, "GET", LIST)
                assert answer.status == 200
                assert answer.headers["Cache-Control"].startswith("public, max-age=10")
                return [category["name"] for category in json.loads(answer.text)]

            # It keeps what is public.
            assert "Tools" not in names()
            before = reached()
            assert before == 1
            created = say(port, "POST", LIST, {"name": "Tools"})
            assert created.status == 201
            assert "Tools" not in names()
            assert reached() == before + 1  # the POST

            # It forgets what has a tag, and what has an address, and only that.
            before = reached()
            flask(f"cdn purge --dry-run {LIST} --tag category", "cdn purge --tag categor --tag unknown")
            assert "Tools" not in names()
            assert reached() == before
            flask("cdn purge --tag unknown --tag category")
            assert "Tools" in names()
            assert reached() == before + 1
            assert say(port, "GET", "/api/v1/products").status == 200
            flask(f"cdn purge {LIST}")
            assert "Tools" in names()
            assert reached() == before + 2
            assert say(port, "GET", "/api/v1/products").status == 200
            assert reached("/api/v1/products") == 1

            # Whoever is known is answered by the origin, which lets nobody keep that; others are not given it.
            before = reached()
            known = [{"Cookie": "session=a"}, {"Authorization": "Bearer a"}, {"Cookie": "x=1; session=a"}]
            for headers in (*known, *known):
                answer = say(port, "GET", LIST, **headers)
                assert answer.headers["Cache-Control"] == "private, no-cache"
            assert reached() == before + 6
            assert "Tools" in names()
            # A cookie of somebody else's does not cost the cache.
            assert say(port, "GET", LIST, Cookie="_ga=1").headers["Cache-Control"].startswith("public")
            assert reached() == before + 6
            # What nobody called public is never kept, and errors are not.
            for path, status in (("/", 200), ("/nowhere", 404)):
                assert {say(port, "GET", path).status for _ in range(2)} == {status}
                assert reached(path) == 2

            # A client is limited by its address, whatever it says.
            forged = {f"203.0.113.{number}" for number in range(6)}
            statuses = [say(port, "POST", LIST, {}, X_Forwarded_For=address).status for address in forged]
            assert statuses == [422] * 3 + [429] * 3
            # The origin does not believe who is not the CDN.
            server = int(upstream.bind.rpartition(":")[2])
            direct = [say(server, "POST", LIST, {}, OWN, X_Forwarded_For=address).status for address in forged]
            assert direct == [422] * 4 + [429] * 2


@each([behind("cloudfront")])
def test_the_api_of_amazon_takes_the_calls(workspace: Path, environment: Path, run: Run) -> None:
    """By moto, which plays it: an invalidation of a distribution that exists, and the refusal of another."""
    (package,) = (path.name for path in (workspace / "src").iterdir())
    script = f'''
import os
import boto3
from moto import mock_aws
from {package} import create_app

with mock_aws():
    client = boto3.client("cloudfront", region_name="us-east-1")
    origins = [dict(Id="a", DomainName="origin.example.com", CustomOriginConfig=dict(
        HTTPPort=80, HTTPSPort=443, OriginProtocolPolicy="https-only"))]
    made = client.create_distribution(DistributionConfig=dict(
        CallerReference="a", Comment="", Enabled=True, Origins=dict(Quantity=1, Items=origins),
        DefaultCacheBehavior=dict(TargetOriginId="a", ViewerProtocolPolicy="redirect-to-https")))
    os.environ["CDN_ID"] = made["Distribution"]["Id"]
    for words in (["/a", "--tag", "table"], ["--everything"]):
        result = create_app().test_cli_runner().invoke(args=["cdn", "purge", *words])
        assert result.exit_code == 0, result.output
    found = client.list_invalidations(DistributionId=os.environ["CDN_ID"])["InvalidationList"]["Items"]
    paths = [client.get_invalidation(DistributionId=os.environ["CDN_ID"], Id=item["Id"])["Invalidation"]
             ["InvalidationBatch"]["Paths"]["Items"] for item in found]
    assert sorted(paths) == [["/*"], ["/a", "#table"]], paths
    os.environ["CDN_ID"] = "nothing"
    result = create_app().test_cli_runner().invoke(args=["cdn", "purge", "/a"])
    assert result.exit_code == 1
    assert "NoSuchDistribution" in result.output, result.output
'''
    variables = {"PYTHONPATH": "src", "FLASK_DEBUG": "1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a"}
    result = run(environment / "python", "-c", script, cwd=workspace, ALLOWED_HOSTS=HOST, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


@each(CDNS)
def test_the_snippet_is_accepted(row: Row, project: Path, environment: Path, run: Run, tmp_path: Path) -> None:
    """By the provider's own checker where there is one, else by a parser."""
    (file,) = (path for path in (project / "deploy" / "cdn").iterdir() if path.name != "addresses.conf")
    if file.suffix == ".tf":
        parse = "import hcl2, sys; print(*(name for block in hcl2.load(open(sys.argv[1]))['resource'] for name in block))"
        result = run(environment / "python", "-c", parse, file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert str(row.options["cdn"]) in result.stdout
    elif file.suffix == ".yaml":
        result = run(environment / "cfn-lint", "-r", "us-east-1", "--", file, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
    else:
        result = run(program("varnishd", "varnish"), "-C", "-f", file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
