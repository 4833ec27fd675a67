"""Projects behind a CDN: Varnish and an HTTP server on loopback are the fakes of the CDN and of its API."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from tests.application_servers import application_server, variables_of
from tests.conftest import Run
from tests.deployed_project import AUTHORIZATION
from tests.matrix import OPTIONS, PROJECT, Combination, Value, answers_with, parametrize_combinations
from tests.services import TIMEOUT, Response, free_port, program, serving

HOST = "example.com"
CLIENT_ADDRESS = "127.0.0.3"  # source address of a client that is not the CDN
CATEGORIES_PATH = "/api/v1/categories"


def combination_with(cdn: Value) -> Combination:
    """Return a combination with this CDN directly in front of the application, without backing services."""
    answers = answers_with(database="sqlite", cache="none", auth="jwt", reverse_proxy="none", cdn=cdn)
    return Combination(f"behind-{cdn}", answers)


CDNS = [combination_with(cdn) for cdn in OPTIONS["cdn"] if cdn != "none"]


class ProviderHeaders(NamedTuple):
    """How a provider gets TTLs and tags: the header and directive of a TTL, and the header of tags."""

    ttl_header: str
    ttl_directive: str
    tag_header: str


PROVIDER_HEADERS: dict[Value, ProviderHeaders] = {
    "cloudflare": ProviderHeaders("CDN-Cache-Control", "max-age", "Cache-Tag"),
    "cloudfront": ProviderHeaders("Cache-Control", "s-maxage", "Cache-Tag"),
    "fastly": ProviderHeaders("Surrogate-Control", "max-age", "Surrogate-Key"),
    "generic": ProviderHeaders("CDN-Cache-Control", "max-age", "Surrogate-Key"),
}


def send(port: int, method: str, path: str, body: object = None, source: str = "", **headers: str) -> Response:
    """Send a request to a port, from a given source address if there is one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT, source_address=(source, 0) if source else None)
    try:
        names = {"Host": HOST, "Content-Type": "application/json", **headers}
        if method == "POST":
            names |= AUTHORIZATION
        names = {name.replace("_", "-"): value for name, value in names.items()}
        connection.request(method, path, None if body is None else json.dumps(body), names)
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


def apply_purge(varnish: int, cdn: Value, request: BaseHTTPRequestHandler, body: str) -> None:
    """Apply a purge request to the provider's API to Varnish."""
    paths: list[str] = []
    tags: list[str] = []
    if cdn == "cloudflare":
        assert request.path == "/zones/E1/purge_cache"
        assert request.headers["Authorization"] == "Bearer token"
        data = json.loads(body)
        tags, paths = data.get("tags", []), data.get("files", [])
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
        assert send(varnish, "PURGE", path.removeprefix(f"https://{HOST}")).status == 200
    if tags:
        assert send(varnish, "PURGE", "/", Surrogate_Key=" ".join(tags)).status == 200


@contextmanager
def provider_api(varnish: int, cdn: Value) -> Iterator[str]:
    """Run a fake of the provider's API within a `with` block; `generic` uses Varnish's own."""
    if cdn == "generic":
        yield f"http://127.0.0.1:{varnish}"
        return

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            apply_purge(varnish, cdn, self, body)
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


COMMAND_LOOP = """
import sys
from {package}.wsgi import app

for line in sys.stdin:
    result = app.test_cli_runner().invoke(args=line.split())
    print("finished", result.exit_code, repr(result.output), flush=True)
"""


@contextmanager
def commands(project: Path, venv_bin: Path, variables: dict[str, str]) -> Iterator[Callable[[str], None]]:
    """Provide a function that runs `flask` commands in one process, since each start would take a second."""
    (package,) = (path.name for path in (project / "src").iterdir())
    command: list[str | Path] = [venv_bin / "python", "-c", COMMAND_LOOP.format(package=package)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=project, env=variables, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        output = process.stdout

        def flask(words: str) -> None:
            print(words, file=process.stdin, flush=True)
            while not (line := output.readline()).startswith("finished"):
                assert line, f"{words}: no output"
            assert line.startswith("finished 0"), line

        yield flask
        process.stdin.close()


@contextmanager
def varnish(vcl: str, port: int, folder: Path) -> Iterator[None]:
    """Run Varnish with a configuration within a `with` block."""
    folder.mkdir()
    (folder / "site.vcl").write_text(vcl, encoding="utf-8")
    # Without a jail Varnish does not change its user, as a package would have it do.
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
    options = ["-a", f"127.0.0.1:{port}", "-s", "malloc,16m", "-p", "ban_lurker_sleep=0"]
    health = f"http://127.0.0.1:{port}/health/live"
    with serving([*command, *options], folder, {"PATH": "/usr/bin:/bin"}, health, folder / "log"):
        yield


def configure(cdn: Value, origin: str) -> str:
    """Adapt the Varnish configuration of a project with `cdn=generic` to the headers of a provider."""
    text = (PROJECT / "deploy" / "cdn" / "varnish.vcl").read_text(encoding="utf-8")
    headers, generic = PROVIDER_HEADERS[cdn], PROVIDER_HEADERS["generic"]
    head, _, rest = text.partition("sub vcl_backend_response")
    rest = rest.replace(generic.ttl_header, headers.ttl_header).replace(
        f"{generic.ttl_directive}=", f"{headers.ttl_directive}="
    )
    head = head.replace(f"obj.http.{generic.tag_header}", f"obj.http.{headers.tag_header}")
    # Some providers use the header that browsers get, too.
    rest = rest.replace("    unset resp.http.Cache-Control;\n", "")
    port = origin.rpartition(":")[2]
    return f"{head}sub vcl_backend_response{rest}".replace('.port = "8000"', f'.port = "{port}"')


class Site(NamedTuple):
    """A site behind its CDN."""

    cdn: int  # port of Varnish
    origin: int
    log: Path  # log of the origin
    flask: Callable[[str], None]

    def origin_requests(self, path: str = CATEGORIES_PATH) -> int:
        """Return the number of requests for a path that have reached the origin."""
        return self.log.read_text(encoding="utf-8").count(f'"path":"{path}"')

    def category_names(self) -> list[str]:
        """Return the names of categories in the CDN's response."""
        response = send(self.cdn, "GET", CATEGORIES_PATH)
        assert response.status == 200
        assert response.headers["Cache-Control"].startswith("public, max-age=10")
        return [category["name"] for category in json.loads(response.text)]


@contextmanager
def running_site(combination: Combination, project: Path, venv_bin: Path, folder: Path) -> Iterator[Site]:
    """Run a site behind its CDN within a `with` block."""
    (project / ".env").unlink()
    (folder / "addresses.conf").write_text("127.0.0.1/32\n")
    cdn, port, log = combination.options["cdn"], free_port(), folder / "server.log"
    with provider_api(port, cdn) as api:
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
            # Without a cache server each process counts requests on its own.
            "WEB_CONCURRENCY": "1",
        }
        variables = variables_of(project, venv_bin, "127.0.0.1:1") | settings
        with (
            commands(project, venv_bin, variables) as flask,
            application_server(project, combination, venv_bin, log, options=(), **settings) as upstream,  # type: ignore[arg-type]
            varnish(configure(cdn, upstream.bind), port, folder / "varnish"),
        ):
            subprocess.run([venv_bin / "alembic", "upgrade", "head"], check=True, cwd=project, env=variables)
            flask("seed")
            yield Site(port, int(upstream.bind.rpartition(":")[2]), log, flask)


@parametrize_combinations(CDNS)
def test_cdn_caches_public_responses_only(
    combination: Combination, workspace: Path, venv_bin: Path, tmp_path: Path
) -> None:
    """The CDN serves repeated requests until a purge, and never caches personal responses."""
    with running_site(combination, workspace, venv_bin, tmp_path) as site:
        check_public_responses(site)
        check_personal_responses(site)
        check_rate_limit(site)


def check_public_responses(site: Site) -> None:
    """Check that a purge by tag or by path deletes the matching responses only."""
    assert "Tools" not in site.category_names()
    assert send(site.cdn, "POST", CATEGORIES_PATH, {"name": "Tools"}).status == 201
    assert "Tools" not in site.category_names()
    assert site.origin_requests() == 2  # the first one, and the POST
    site.flask(f"cdn purge --dry-run {CATEGORIES_PATH} --tag category")
    site.flask("cdn purge --tag categor --tag unknown")
    assert "Tools" not in site.category_names()
    assert site.origin_requests() == 2
    site.flask("cdn purge --tag unknown --tag category")
    assert ["Tools" in site.category_names() for _ in range(2)] == [True, True]
    assert site.origin_requests() == 3
    assert send(site.cdn, "GET", "/api/v1/products").status == 200
    site.flask(f"cdn purge {CATEGORIES_PATH}")
    assert "Tools" in site.category_names()
    assert site.origin_requests() == 4
    assert send(site.cdn, "GET", "/api/v1/products").status == 200
    assert site.origin_requests("/api/v1/products") == 1


def check_personal_responses(site: Site) -> None:
    """Check that requests with credentials reach the origin, and that their responses are not cached."""
    before = site.origin_requests()
    personal = [{"Cookie": "session=a"}, {"Authorization": "Bearer a"}, {"Cookie": "x=1; session=a"}]
    for headers in (*personal, *personal):
        assert send(site.cdn, "GET", CATEGORIES_PATH, **headers).headers["Cache-Control"] == "private, no-cache"
    assert site.origin_requests() == before + 6
    # Cookies of third parties do not prevent caching.
    assert send(site.cdn, "GET", CATEGORIES_PATH, Cookie="_ga=1").headers["Cache-Control"].startswith("public")
    assert "Tools" in site.category_names()
    assert site.origin_requests() == before + 6
    # Responses without `public()` and errors are not cached.
    for path, status in (("/", 200), ("/nowhere", 404)):
        assert [send(site.cdn, "GET", path).status for _ in range(2)] == [status, status]
        assert site.origin_requests(path) == 2


def check_rate_limit(site: Site) -> None:
    """Check that clients are limited by their address: the origin trusts forwarding headers of the CDN only."""
    forged = [f"203.0.113.{number}" for number in range(6)]
    through_cdn = [send(site.cdn, "POST", CATEGORIES_PATH, {}, X_Forwarded_For=address).status for address in forged]
    assert through_cdn == [422] * 3 + [429] * 3
    at_origin = [
        send(site.origin, "POST", CATEGORIES_PATH, {}, CLIENT_ADDRESS, X_Forwarded_For=address).status
        for address in forged
    ]
    assert at_origin == [422] * 4 + [429] * 2


@pytest.mark.parametrize("name", ["session", "__Host-session", "__Secure-session", "__Host-session-login-0a1b2c3d"])
def test_each_cdn_knows_the_session_cookies(name: str) -> None:
    """The configuration of each CDN matches the cookies of logins, and not those of analytics."""
    files = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT / "deploy" / "cdn").iterdir()}
    for file in ("fastly.tf", "varnish.vcl"):
        (pattern,) = re.findall(r'req\.http\.Cookie ~ "(.*?)"\)', files[file])
        assert re.search(pattern, f"_ga=1; {name}=a"), file
        assert not re.search(pattern, "_ga=1; ab_session_test=a"), file
    (part,) = re.findall(r'http\.cookie contains \\"(.*?)\\"', files["cloudflare.tf"])
    assert part in f"{name}=a"
    patterns = re.findall(r"Cookies: \[(.*)\]", files["cloudfront.yaml"])
    assert len(patterns) == 3
    assert all(fnmatchcase(name, found.split(",")[0].strip('"')) for found in patterns)


@parametrize_combinations([combination_with("cloudfront")])
def test_cloudfront_api_accepts_invalidations(workspace: Path, venv_bin: Path, run: Run) -> None:
    """Moto accepts invalidations of an existing distribution and rejects one of an unknown distribution."""
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
    created = client.create_distribution(DistributionConfig=dict(
        CallerReference="a", Comment="", Enabled=True, Origins=dict(Quantity=1, Items=origins),
        DefaultCacheBehavior=dict(TargetOriginId="a", ViewerProtocolPolicy="redirect-to-https")))
    os.environ["CDN_ID"] = created["Distribution"]["Id"]
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
    result = run(venv_bin / "python", "-c", script, cwd=workspace, ALLOWED_HOSTS=HOST, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations(CDNS)
def test_cdn_configuration_is_valid(
    combination: Combination, project: Path, venv_bin: Path, run: Run, tmp_path: Path
) -> None:
    """The provider's own checker accepts the configuration, or a parser if there is none."""
    (file,) = (path for path in (project / "deploy" / "cdn").iterdir() if path.name != "addresses.conf")
    if file.suffix == ".tf":
        parse = (
            "import hcl2, sys; print(*(name for block in hcl2.load(open(sys.argv[1]))['resource'] for name in block))"
        )
        result = run(venv_bin / "python", "-c", parse, file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert str(combination.options["cdn"]) in result.stdout
    elif file.suffix == ".yaml":
        result = run(venv_bin / "cfn-lint", "-r", "us-east-1", "--", file, cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
    else:
        result = run(program("varnishd", "varnish"), "-j", "none", "-C", "-f", file, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
