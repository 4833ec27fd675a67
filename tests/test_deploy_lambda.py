"""AWS Lambda: the handlers with AWS's runtime client and events of each source, the templates, and the script."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.aws import COMMAND, Account, check_parameters, load, missing_actions
from tests.aws_lambda import CLIENT, FORMATS, Event, FunctionError, Request, Response, Runtime, function, http_api
from tests.conftest import Run
from tests.deployed_project import ALLOW_ANONYMOUS, PRODUCTION_SETTINGS
from tests.matrix import COMBINATIONS, Combination, answers_with, parametrize_combinations
from tests.services import PostgreSQL, fetch, free_port, stop, wait_until
from tests.settings import required_settings, setting_names
from tests.test_error_tracking import Receiver as Sentry
from tests.test_error_tracking import receiver as sentry  # noqa: F401 - a fixture
from tests.test_opentelemetry import Receiver as Collector
from tests.test_opentelemetry import receiver as collector  # noqa: F401 - a fixture

VALUE = "aws-lambda"
WITH_VALUE = [combination for combination in COMBINATIONS if combination.options["deployment"] == VALUE]
# Pages, accounts, a database and both kinds of telemetry.
LARGEST = Combination(
    "aws-lambda-largest",
    answers_with(deployment=VALUE, monitoring="opentelemetry", error_tracking="sentry", cdn="cloudfront"),
)
OIDC = Combination("aws-lambda-oidc", answers_with(deployment=VALUE, auth="oidc", cdn="fastly", ci="gitlab"))
JWT = Combination("aws-lambda-jwt", answers_with(deployment=VALUE, auth="jwt", database="mysql", web_pages=False))
DEFAULT_ON_LAMBDA = Combination("aws-lambda-default", answers_with(deployment=VALUE))
CHECKED = [LARGEST, OIDC, JWT, *WITH_VALUE]

# Views that show what the application sees; appended to the module that the handler imports.
PROBES = (
    """

@app.route("/probe/<path:rest>", methods=["GET", "POST"])
def probe(rest):
    import hashlib
    from flask import request

    return {
        "rest": rest,
        "query": request.args.to_dict(flat=False),
        "cookies": request.cookies.to_dict(),
        "has_cookies": "HTTP_COOKIE" in request.environ,
        "address": request.remote_addr,
        "url": request.base_url,
        "headers": {name.lower(): value for name, value in request.headers},
        "body": hashlib.sha256(request.get_data()).hexdigest(),
    }


@app.get("/probe/answers/<kind>")
def answer(kind):
    import structlog
    from flask import Response, redirect, url_for

    if kind == "binary":
        return Response(bytes(range(256)) * 8, mimetype="application/octet-stream")
    if kind == "cookies":
        response = redirect(url_for("probe", rest="là"))
        response.headers["Vary"] = "Accept"
        response.headers.add("Vary", "Origin")
        response.set_cookie("first", "1", secure=True)
        response.set_cookie("second", "2", secure=True)
        return response
    if kind == "thread":
        from threading import Thread

        def work():
            from time import sleep
            sleep(0.3)
            structlog.get_logger().info("thread ended")

        Thread(target=work).start()
    if kind == "crash":
        raise RuntimeError("crash")
    return "ok"
"""
    + ALLOW_ANONYMOUS
)

SETTINGS = {**PRODUCTION_SETTINGS, "ALLOWED_HOSTS": "example.com", "DATABASE_URL": "sqlite://"}


def template_of(project: Path) -> dict[str, Any]:
    """Return the SAM template of a project."""
    return load(project / "deploy" / "lambda" / "template.yaml")


def static_variables(project: Path) -> dict[str, str]:
    """Return the variables of both functions that are texts: they apply to tests, too."""
    variables = template_of(project)["Globals"]["Function"]["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if isinstance(value, str)}


@pytest.fixture
def web(workspace: Path, venv_bin: Path, tmp_path: Path) -> Iterator[Runtime]:
    """Return a running function for requests, with the probes."""
    with running(workspace, venv_bin, tmp_path) as runtime:
        yield runtime


def running(workspace: Path, programs: Path, folder: Path, **variables: str) -> AbstractContextManager[Runtime]:
    """Run the function for requests within a `with` block."""
    (module,) = workspace.glob("src/*/wsgi.py")
    if "/probe/" not in (text := module.read_text(encoding="utf-8")):
        module.write_text(text + PROBES, encoding="utf-8")
    environment = {**SETTINGS, **static_variables(workspace), "TRUSTED_PROXY_HOPS": "0", **variables}
    return function(workspace, programs, "lambda_handler.handle_request", folder / "log", environment)


def log_of(folder: Path) -> str:
    """Return what the function has written."""
    return (folder / "log").read_text(encoding="utf-8")


@parametrize_combinations([LARGEST])
def test_each_event_format_is_served(web: Runtime) -> None:
    """Pages, JSON, redirects, cookies, bodies, queries, paths and the client address are right in each format."""
    for name, event_of in FORMATS.items():

        def send(
            url: str,
            method: str = "GET",
            headers: Mapping[str, str] | None = None,
            *,
            event_of: Callable[[Request], Event] = event_of,
            cookies: tuple[str, ...] = (),
            body: bytes = b"",
        ) -> Response:
            return Response.of(web.invoke(event_of(Request(url, method, headers or {}, cookies, body))))

        page = send("/", headers={"Accept-Encoding": "br"})
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8"), name
        assert page.headers["content-encoding"] == "br", name
        assert b"<html" not in page.body, name
        assert b"<html" in send("/").body, name
        assert send("/nowhere").status == 404, name

        body = bytes(range(256))
        spoofed = {"X-Forwarded-For": "10.0.0.1, 192.0.2.1", "X_Forwarded_For": "10.0.0.2", "X-Probe": "a"}
        response = send(
            "/probe/l%C3%A0%20%2B/x?tag=a&tag=b%26c&empty=", "POST", spoofed, cookies=("a=1", "b=2"), body=body
        )
        seen = json.loads(response.body)
        assert seen["rest"] == "là +/x", name
        tags = ["b&c"] if name == "load-balancer" else ["a", "b&c"]
        assert seen["query"]["tag"] == tags, name
        assert seen["cookies"] == {"a": "1", "b": "2"}, name
        assert seen["address"] == CLIENT, name
        assert "x_forwarded_for" not in seen["headers"], name
        assert seen["headers"]["x-probe"] == "a", name
        assert seen["body"] == "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880", name
        stage = "/prod" if name == "rest-api" else ""
        assert seen["url"].startswith(f"https://example.com{stage}/probe/"), name
        assert not json.loads(send("/probe/x").body)["has_cookies"], name

        binary = send("/probe/answers/binary")
        assert binary.body == bytes(range(256)) * 8, name
        redirect = send("/probe/answers/cookies")
        assert (redirect.status, redirect.headers["location"]) == (302, f"{stage}/probe/l%C3%A0"), name
        assert [cookie.partition(";")[0] for cookie in redirect.cookies] == ["first=1", "second=2"], name
        if "multi" not in name and "lists" not in name and name != "rest-api":
            assert "Accept, Origin" in redirect.headers["vary"], name
        crash = send("/probe/answers/crash")
        assert (crash.status, crash.headers["content-type"]) == (500, "application/problem+json"), name


@parametrize_combinations([LARGEST])
def test_each_cookie_has_a_name_of_its_own(project: Path, venv_bin: Path, run: Run) -> None:
    """Each of many cookies has a name in a case of its own."""
    script = """
import sys
from importlib import import_module
join_headers = import_module(f"{sys.argv[1]}.lambda_handler").join_headers
headers = join_headers([("Set-Cookie", f"c={number}") for number in range(100)])
assert [value for _, value in headers] == [f"c={number}" for number in range(100)]
assert len({name for name, _ in headers}) == 100
assert {name.lower() for name, _ in headers} == {"set-cookie"}
"""
    (package,) = (path.name for path in (project / "src").iterdir())
    result = run(venv_bin / "python", "-c", script, package, cwd=project, PYTHONPATH="src", **SETTINGS)
    assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations([LARGEST])
def test_address_behind_the_cdn_cannot_be_spoofed(workspace: Path, venv_bin: Path, tmp_path: Path) -> None:
    """The CDN's client is the one that the CDN appended; a header from another client is ignored."""
    networks = {"203.0.113.0/24": "192.0.2.1", "198.51.100.0/24": CLIENT}
    for network, expected in networks.items():
        (workspace / "deploy" / "cdn" / "addresses.conf").write_text(f"{network}\n")
        with running(workspace, venv_bin, tmp_path, TRUSTED_PROXY_HOPS="1") as web:
            for name, event_of in FORMATS.items():
                event = event_of(Request("/probe/x", headers={"X-Forwarded-For": "10.0.0.1, 192.0.2.1"}))
                assert json.loads(Response.of(web.invoke(event)).body)["address"] == expected, name


@parametrize_combinations([LARGEST])
def test_response_waits_for_threads_and_telemetry(
    workspace: Path,
    venv_bin: Path,
    tmp_path: Path,
    collector: Collector,  # noqa: F811
    sentry: Sentry,  # noqa: F811
) -> None:
    """When the function responds, threads have ended, and spans, log lines and error reports are sent."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_LOGS_EXPORTER": "otlp",
        "SENTRY_DSN": sentry.dsn,
    }
    with running(workspace, venv_bin, tmp_path, **variables) as web:
        for number in (1, 2):
            for kind in ("thread", "crash"):
                web.invoke(http_api(Request(f"/probe/answers/{kind}")))
            assert log_of(tmp_path).count("thread ended") == number
            assert len(sentry.reports) == number
            assert len(collector.spans("/probe/answers/<kind>")) == 2 * number
            assert len(collector.lines("thread ended")) == number
            # Without its thread: an instance that never gets another request has exported its metrics.
            paths = [request["path"] for request in collector.requests()]
            assert paths.count("/v1/metrics") >= 2 * number


@parametrize_combinations([LARGEST])
def test_frozen_function_serves_the_next_request(workspace: Path, venv_bin: Path, tmp_path: Path) -> None:
    """After a minute in which the process was frozen and the database restarted, the next request succeeds."""
    with PostgreSQL.running() as server:
        url = server.create_database().url
        variables = {**SETTINGS, "DATABASE_URL": url, "DATABASE_MIGRATION_URL": url}
        with function(workspace, venv_bin, "lambda_commands.handle_command", tmp_path / "log", variables) as command:
            assert "0001" in command.invoke({"command": "alembic upgrade head"})["output"]
        # With this timeout the watchdog of servers would end a process after 7 s without its thread.
        with running(workspace, venv_bin, tmp_path, DATABASE_URL=url, WEB_TIMEOUT="1") as web:
            products = http_api(Request("/api/v1/products"))
            assert Response.of(web.invoke(products)).status == 200
            opened = server.query("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'test%'")
            assert opened == "1"
            with web.frozen(), server.unavailable():
                time.sleep(8)
            assert Response.of(web.invoke(products)).status == 200
            assert Response.of(web.invoke(http_api(Request("/health/ready")))).status == 200
            assert web.process
            assert web.process.poll() is None


@parametrize_combinations([LARGEST])
def test_warm_request_imports_nothing(workspace: Path, venv_bin: Path, run: Run) -> None:
    """The second request imports no module, and the application is created once."""
    script = """
import json, sys
from importlib import import_module
package, event = sys.argv[1], json.loads(sys.argv[2])
handler = import_module(f"{package}.lambda_handler")
assert handler.handle_request(event, None)["statusCode"] == 200
before = {*sys.modules}
app = handler.app
assert handler.handle_request(event, None)["statusCode"] == 200
assert {*sys.modules} == before, {*sys.modules} - before
assert import_module(f"{package}.lambda_handler").app is app
"""
    (package,) = (path.name for path in (workspace / "src").iterdir())
    command = [venv_bin / "python", "-c", script, package, json.dumps(http_api(Request("/")))]
    result = run(*command, cwd=workspace, PYTHONPATH="src", AWS_LAMBDA_FUNCTION_NAME="web", **SETTINGS)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("combination", [pytest.param(DEFAULT_ON_LAMBDA, id=DEFAULT_ON_LAMBDA.id)])
def test_cold_start_takes_less_time_than_a_web_server(
    workspace: Path, render: Callable[[Combination], Path], venv_bin: Path, tmp_path: Path, run: Run
) -> None:
    """From the start to the first response, the function needs at most 75 % of the CPU time of the default server.

    It is 66 %. The imports of libraries alone, of which the function needs all, are nine tenths of its time.
    """
    server = Path(shutil.copytree(render(Combination("default", answers_with())), tmp_path / "server"))
    for project in (workspace, server):
        assert run(venv_bin / "python", "-m", "compileall", "-q", "src", cwd=project).returncode == 0
    settings = {**SETTINGS, **static_variables(workspace), "TRUSTED_PROXY_HOPS": "0"}
    handler = "lambda_handler.handle_request"
    times: dict[str, list[float]] = {"function": [], "server": []}
    for _ in range(4):
        with function(workspace, venv_bin, handler, tmp_path / "log", settings) as runtime:
            assert Response.of(runtime.invoke(http_api(Request("/")))).status == 200
            assert runtime.process
            times["function"].append(cpu_seconds(runtime.process.pid))
        times["server"].append(first_response_of_server(server, venv_bin))
    assert min(times["function"]) < min(times["server"]), times


def first_response_of_server(project: Path, programs: Path) -> float:
    """Start gunicorn, and return the CPU time of its processes until the first response."""
    port = free_port()
    process = subprocess.Popen(
        [programs / "python", "deploy/gunicorn_server.py"],
        cwd=project,
        env={
            **SETTINGS,
            "BIND": f"127.0.0.1:{port}",
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": "src",
            "WEB_CONCURRENCY": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def responds() -> bool:
        with suppress(OSError):
            return fetch(f"http://127.0.0.1:{port}/", Host="example.com").status == 200
        return False

    try:
        wait_until(responds, process)
        return cpu_seconds(process.pid)
    finally:
        stop(process, signal.SIGTERM)


def cpu_seconds(session: int) -> float:
    """Return the CPU time of all processes of a session: fields 14 and 15 of proc_pid_stat(5)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:13])) if int(fields[3]) == session else 0
    return ticks / os.sysconf("SC_CLK_TCK")


@parametrize_combinations([LARGEST])
def test_only_allowed_commands_run(workspace: Path, venv_bin: Path, tmp_path: Path) -> None:
    """A command of the list runs and its output is the result; another one, and one that fails, is an error."""
    variables = {**SETTINGS, "DATABASE_URL": f"sqlite:///{tmp_path}/data"}
    with function(workspace, venv_bin, "lambda_commands.handle_command", tmp_path / "log", variables) as command:
        assert "/health/live" in command.invoke({"command": "flask routes"})["output"]
        for words in ("flask shell", "flask", "sh -c id", "alembic downgrade base", "flaskrun", ""):
            with pytest.raises(FunctionError, match="expected a command that begins with"):
                command.invoke({"command": words})
        with pytest.raises(FunctionError, match="flask users grant ended with 2"):
            command.invoke({"command": "flask users grant"})
        # No shell reads the words.
        with pytest.raises(FunctionError, match="ended with 2"):
            command.invoke({"command": "flask routes ; id"})


def test_templates_pass_cfn_lint(
    render: Callable[[Combination], Path], venv_bin: Path, run: Run, tmp_path: Path
) -> None:
    """cfn-lint reports nothing in any combination. One process checks all, since most of its time is its start."""
    names = ("deploy/lambda/template.yaml", "deploy/aws/bootstrap.yaml")
    files = [render(combination) / name for combination in CHECKED for name in names]
    result = run(venv_bin / "cfn-lint", "-r", "us-east-1", "eu-central-1", "--", *files, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def find_errors(project: Path, template: dict[str, Any]) -> Iterator[str]:
    """Yield mistakes that cfn-lint does not report."""
    (package,) = (path.name for path in (project / "src").iterdir())
    known = setting_names(project) | {"FLASK_DEBUG"}
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        module, _, handler = properties["ImageConfig"]["Command"][0].removeprefix(f"{package}.").rpartition(".")
        source = project / "src" / package / f"{module}.py"
        if not source.exists() or f"def {handler}(" not in source.read_text(encoding="utf-8"):
            yield f"{name}: no handler {module}.{handler}"
        if properties["ImageConfig"]["EntryPoint"] != ["python", "deploy/lambda_server.py"]:
            yield f"{name}: entry point"
        events = properties.get("Events", {}).values()
        limit = 29 if any(event["Type"] == "HttpApi" for event in events) else 900
        if properties["Timeout"] > limit:
            yield f"{name}: timeout over {limit} s"
        variables = shared | properties.get("Environment", {}).get("Variables", {})
        yield from (f"{name}: {variable} is no setting" for variable in variables.keys() - known)
        yield from (f"{name}: {variable} is missing" for variable in required_settings(project) - variables.keys())
        for event in events:
            if event["Type"] == "ScheduleV2":
                yield from (f"{name}: {error}" for error in find_schedule_errors(event["Properties"], project))
    for name in re.findall(r"GetAtt ([A-Za-z]+Role)\.", (project / "deploy/lambda/template.yaml").read_text()):
        if name not in template["Resources"]:
            yield f"no role {name}"


def find_schedule_errors(schedule: dict[str, Any], project: Path) -> Iterator[str]:
    """Yield mistakes of a schedule: AWS's cron expressions have six fields, one of the days is `?`."""
    expression = schedule["ScheduleExpression"]
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    if not re.fullmatch(r"(cron|rate)\(.+\)", expression) or (expression.startswith("cron") and len(fields) != 6):
        yield f"{expression} has {len(fields)} fields"
    elif expression.startswith("cron") and (fields[2] == "?") == (fields[4] == "?"):
        yield f"{expression}: one of the days is ?"
    (module,) = project.glob("src/*/lambda_commands.py")
    command = json.loads(schedule["Input"])["command"]
    allowed = re.findall(r'(?m)^    "(.+)",$', module.read_text(encoding="utf-8"))
    if not any(f"{command} ".startswith(f"{start} ") for start in allowed):
        yield f"{command} is not allowed"


@parametrize_combinations(CHECKED)
def test_template_matches_the_project(project: Path) -> None:
    """Handlers, timeouts, schedules, settings and roles exist and fit."""
    assert [*find_errors(project, template_of(project))] == []


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        ("cron(17 3 * * ? *)", "cron(17 3 * * *)"),
        ("cron(17 3 * * ? *)", "cron(17 3 * * * *)"),
        ("lambda_handler.handle_request", "lambda_handler.handle"),
        ("Timeout: 29", "Timeout: 60"),
        ("ALLOWED_HOSTS:", "ALLOWED_HOST:"),
        ("        SECRET_KEY:", "        CACHE_PREFIX:"),
        ("flask users prune", "flask shell"),
        ("GetAtt SchedulerRole", "GetAtt ScheduleRole"),
    ],
)
@parametrize_combinations([LARGEST])
def test_mistakes_are_found(mistake: str, text: str, workspace: Path) -> None:
    """Each check detects its mistake."""
    path = workspace / "deploy" / "lambda" / "template.yaml"
    source = path.read_text(encoding="utf-8")
    assert mistake in source
    path.write_text(source.replace(mistake, text, 1), encoding="utf-8")
    assert [*find_errors(workspace, template_of(workspace))]


@parametrize_combinations(CHECKED)
def test_operators_have_the_actions_of_the_runbook(project: Path) -> None:
    """The permissions of operators in docs/deployment.md include each command of the runbook."""
    assert missing_actions(project) == []


@parametrize_combinations(CHECKED)
def test_each_parameter_has_a_value(project: Path) -> None:
    """The files of parameters and the script give a value to each parameter without a default, and to no other one."""
    check_parameters(project / "deploy" / "lambda", template_of(project))


@parametrize_combinations([JWT])
def test_command_is_passed_as_it_is(workspace: Path, tmp_path: Path, run: Run) -> None:
    """`make run-command` passes quotes, backslashes and variables to the function."""
    account = Account(workspace, "deploy/lambda/deploy.sh", tmp_path, run)
    payload = account.run_command(COMMAND).partition("--payload ")[2].partition(" --query")[0]
    assert json.loads(payload) == {"command": COMMAND}


@parametrize_combinations([LARGEST, JWT])
def test_script_migrates_before_it_releases(workspace: Path, tmp_path: Path, run: Run, venv_bin: Path) -> None:
    """A deployment migrates with the new image while requests keep the current one; failures keep or restore it."""
    account = Account(workspace, "deploy/lambda/deploy.sh", tmp_path, run)
    assert account.call("command", "staging", "flask routes", AWS_REGION="", AWS_DEFAULT_REGION="eu-west-1")[0] == 0
    assert account.call("command", "staging", "flask routes", AWS_REGION="")[0] == 2
    # An error is no first deployment, in which requests get the new image before the migration.
    status, calls = account.call("deploy", "staging", "registry.example.com/web:v1", STACK_ERROR="Rate exceeded")
    assert status
    assert not [call for call in calls if "cloudformation deploy" in call]
    (tmp_path / "pushed").unlink()
    missing = "(ValidationError): Stack with id x does not exist"
    assert account.call("deploy", "staging", "registry.example.com/web:v1", STACK_ERROR=missing)[0] == 0
    assert account.images()["Image"] == "v1"
    (tmp_path / "pushed").unlink()
    assert account.call("deploy", "staging", "registry.example.com/web:v1")[0] == 0
    assert account.images() == {"Image": "v1", "CommandImage": "v1", "PreviousImage": ""}

    (tmp_path / "pushed").unlink()
    status, calls = account.call("deploy", "staging", "registry.example.com/web:v2")
    assert status == 0
    assert account.images() == {"Image": "v2", "CommandImage": "v2", "PreviousImage": "v1"}
    kinds = [call for call in calls if re.search("push|cloudformation deploy|lambda invoke|curl", call)]
    assert [kind.split()[:3] for kind in kinds[:4]] == [
        ["docker", "push", "--quiet"],
        ["aws", "cloudformation", "deploy"],
        ["aws", "lambda", "invoke"],
        ["aws", "cloudformation", "deploy"],
    ]
    assert re.search(r" Image=\S+:v1 CommandImage=\S+:v2 ", kinds[1])
    assert kinds[4] == "curl https://staging.example.com/health/ready"

    # The migration fails.
    (tmp_path / "pushed").unlink()
    assert account.call("deploy", "staging", "registry.example.com/web:v3", INVOKE_ERROR="Unhandled")[0] == 1
    assert account.images() == {"Image": "v2", "CommandImage": "v3", "PreviousImage": "v1"}
    # The smoke test fails.
    assert account.call("deploy", "staging", "registry.example.com/web:v3", CURL_STATUS="22")[0] == 1
    assert account.images() == {"Image": "v2", "CommandImage": "v2", "PreviousImage": ""}
    # The failed release is not the target of another rollback.
    status, calls = account.call("rollback", "staging")
    assert status == 1
    assert not [call for call in calls if "cloudformation deploy" in call]

    (tmp_path / "pushed").unlink()
    assert account.call("deploy", "staging", "registry.example.com/web:v4")[0] == 0
    # The same image again is no new release.
    assert account.call("deploy", "staging", "registry.example.com/web:v4")[0] == 0
    assert account.images() == {"Image": "v4", "CommandImage": "v4", "PreviousImage": "v2"}
    assert account.call("rollback", "staging")[0] == 0
    assert account.images() == {"Image": "v2", "CommandImage": "v2", "PreviousImage": ""}
    assert account.call("deploy", "test", "web:v1")[0] == 2
    (workspace / "deploy" / "lambda" / "staging.env").write_text("DomainName=change-me\n", encoding="utf-8")
    assert account.call("deploy", "staging", "registry.example.com/web:v5") == (2, [])
    result = run(venv_bin / "shellcheck", "deploy/lambda/deploy.sh", cwd=workspace)
    assert result.returncode == 0, result.stdout
