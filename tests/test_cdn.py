"""Projects behind a CDN: a real caching proxy plays it, and a server on loopback its interface."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
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
    """How a provider is told of lifetimes and tags: the headers, and what stands before a lifetime."""

    lifetime: str
    before: str
    tags: str


SPEECH: dict[Value, Speech] = {
    "cloudflare": Speech("CDN-Cache-Control", "max-age", "Cache-Tag"),
    "cloudfront": Speech("Cache-Control", "s-maxage", "Cache-Tag"),
    "fastly": Speech("Surrogate-Control", "max-age", "Surrogate-Key"),
    "generic": Speech("CDN-Cache-Control", "max-age", "Surrogate-Key"),
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
        def do_POST(self) -> None:
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


LOOP = """
import sys
from {package}.wsgi import app

for line in sys.stdin:
    result = app.test_cli_runner().invoke(args=line.split())
    print("ended", result.exit_code, repr(result.output), flush=True)
"""


@contextmanager
def commands(project: Path, environment: Path, variables: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Run commands of `flask`, all in one process: each would take a second to start."""
    (package,) = (path.name for path in (project / "src").iterdir())
    command: list[str | Path] = [environment / "python", "-c", LOOP.format(package=package)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=project, env=variables, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        answers = process.stdout

        def flask(words: str) -> None:
            print(words, file=process.stdin, flush=True)
            while not (line := answers.readline()).startswith("ended"):
                assert line, f"{words}: no answer"
            assert line.startswith("ended 0"), line

        yield flask
        process.stdin.close()


@contextmanager
def varnish(vcl: str, port: int, folder: Path) -> Iterator[None]:
    """Varnish with a configuration, for as long as the block takes."""
    folder.mkdir()
    (folder / "site.vcl").write_text(vcl, encoding="utf-8")
    # Without the jail of a package it does not change its user, whoever that is.
    command: list[str | Path] = [
        program("varnishd", "varnish"),
        "-F",
        "-j",
        "none",
        "-n",
        folder / "work",
        "-f",
        folder / "site.vcl",
    ]
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
    head = head.replace(f"obj.http.{own.tags}", f"obj.http.{speech.tags}")
    # Browsers may be told by the same header.
    rest = rest.replace("    unset resp.http.Cache-Control;\n", "")
    port = origin.rpartition(":")[2]
    return f"{head}sub vcl_backend_response{rest}".replace('.port = "8000"', f'.port = "{port}"')


class Site(NamedTuple):
    """A site behind its CDN."""

    cdn: int  # the port of what plays it
    origin: int
    log: Path  # of the origin
    flask: Callable[[str], None]

    def reached(self, path: str = LIST) -> int:
        """Count the requests for a path that have reached the origin."""
        return self.log.read_text(encoding="utf-8").count(f'"path":"{path}"')

    def names(self) -> list[str]:
        """What the CDN gives everybody."""
        answer = say(self.cdn, "GET", LIST)
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith("public, max-age=10")
        return [category["name"] for category in json.loads(answer.text)]


@contextmanager
def site(row: Row, project: Path, environment: Path, folder: Path) -> Iterator[Site]:
    """A site behind its CDN, for as long as the block takes."""
    (project / ".env").unlink()
    (folder / "addresses.conf").write_text("127.0.0.1/32\n")
    cdn, port, log = row.options["cdn"], free_port(), folder / "server.log"
    with interface(port, cdn) as api:
        settings = {
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "RATE_LIMIT_WRITES": "4/day",
            "TRUSTED_PROXY_HOPS": "1",
            "CDN_ADDRESSES": str(folder / "addresses.conf"),
            "CDN_API_URL": api,
            "CDN_ID": "E1",
            "CDN_TOKEN": "token",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            # Without a server for it each process counts alone.
            "WEB_CONCURRENCY": "1",
        }
        variables = variables_of(project, environment, "127.0.0.1:1") | settings
        with (
            commands(project, environment, variables) as flask,
            application_server(project, row, environment, log, options=(), **settings) as upstream,
            varnish(configure(cdn, upstream.bind), port, folder / "varnish"),
        ):
            flask("db upgrade")
            flask("seed")
            yield Site(port, int(upstream.bind.rpartition(":")[2]), log, flask)


@each(CDNS)
def test_behind_the_cdn(row: Row, workspace: Path, environment: Path, tmp_path: Path) -> None:
    """A second request never reaches the origin, a purge makes it, and nothing personal is ever kept."""
    with site(row, workspace, environment, tmp_path) as behind_cdn:
        keeps_what_is_public_until_it_is_told(behind_cdn)
        keeps_nothing_else(behind_cdn)
        is_no_way_around_a_limit(behind_cdn)


def keeps_what_is_public_until_it_is_told(site: Site) -> None:
    """It forgets what has a tag, and what has an address, and only that."""
    assert "Tools" not in site.names()
    assert say(site.cdn, "POST", LIST, {"name": "Tools"}).status == 201
    assert "Tools" not in site.names()
    assert site.reached() == 2  # the first one, and the POST
    site.flask(f"cdn purge --dry-run {LIST} --tag category")
    site.flask("cdn purge --tag categor --tag unknown")
    assert "Tools" not in site.names()
    assert site.reached() == 2
    site.flask("cdn purge --tag unknown --tag category")
    assert ["Tools" in site.names() for _ in range(2)] == [True, True]
    assert site.reached() == 3
    assert say(site.cdn, "GET", "/api/v1/products").status == 200
    site.flask(f"cdn purge {LIST}")
    assert "Tools" in site.names()
    assert site.reached() == 4
    assert say(site.cdn, "GET", "/api/v1/products").status == 200
    assert site.reached("/api/v1/products") == 1


def keeps_nothing_else(site: Site) -> None:
    """Whoever is known is answered by the origin, and nobody else is given that."""
    before = site.reached()
    known = [{"Cookie": "session=a"}, {"Authorization": "Bearer a"}, {"Cookie": "x=1; session=a"}]
    for headers in (*known, *known):
        assert say(site.cdn, "GET", LIST, **headers).headers["Cache-Control"] == "private, no-cache"
    assert site.reached() == before + 6
    # A cookie of somebody else's does not cost the cache.
    assert say(site.cdn, "GET", LIST, Cookie="_ga=1").headers["Cache-Control"].startswith("public")
    assert "Tools" in site.names()
    assert site.reached() == before + 6
    # What nobody has called public is not kept, and an error is not.
    for path, status in (("/", 200), ("/nowhere", 404)):
        assert [say(site.cdn, "GET", path).status for _ in range(2)] == [status, status]
        assert site.reached(path) == 2


def is_no_way_around_a_limit(site: Site) -> None:
    """A client is limited by its address, whatever it says; the origin believes the CDN alone."""
    forged = [f"203.0.113.{number}" for number in range(6)]
    by_cdn = [say(site.cdn, "POST", LIST, {}, X_Forwarded_For=address).status for address in forged]
    assert by_cdn == [422] * 3 + [429] * 3
    directly = [say(site.origin, "POST", LIST, {}, OWN, X_Forwarded_For=address).status for address in forged]
    assert directly == [422] * 4 + [429] * 2


@each([behind("cloudfront")])
def test_the_api_of_amazon_takes_the_calls(workspace: Path, environment: Path, run: Run) -> None:
    """By moto, which plays it: an invalidation of a distribution that exists, and the refusal of another."""
    (package,) = (path.name for path in (workspace / "src").iterdir())
    script = f"""
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
"""
    variables = {"PYTHONPATH": "src", "FLASK_DEBUG": "1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a"}
    result = run(environment / "python", "-c", script, cwd=workspace, ALLOWED_HOSTS=HOST, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


@each(CDNS)
def test_the_snippet_is_accepted(row: Row, project: Path, environment: Path, run: Run, tmp_path: Path) -> None:
    """By the provider's own checker where there is one, else by a parser."""
    (file,) = (path for path in (project / "deploy" / "cdn").iterdir() if path.name != "addresses.conf")
    if file.suffix == ".tf":
        parse = (
            "import hcl2, sys; print(*(name for block in hcl2.load(open(sys.argv[1]))['resource'] for name in block))"
        )
        result = run(environment / "python", "-c", parse, file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert str(row.options["cdn"]) in result.stdout
    elif file.suffix == ".yaml":
        result = run(environment / "cfn-lint", "-r", "us-east-1", "--", file, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
    else:
        result = run(program("varnishd", "varnish"), "-j", "none", "-C", "-f", file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
