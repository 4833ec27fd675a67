"""`make loadtest`, `make profile`, `make profile-function` and `make memory` of a project."""

import re
from pathlib import Path

import pytest

from tests.application_servers import application_server
from tests.conftest import Run, link_venv
from tests.matrix import DEFAULT, MINIMAL, Combination, parametrize_combinations

# A rate limit that the test does not reach.
UNLIMITED = "100000/second"


@pytest.fixture
def make_variables(workspace: Path, venv_bin: Path) -> dict[str, str]:
    """Return the variables with which `make` uses the programs of the shared virtual environment."""
    return link_venv(workspace, venv_bin, ".loadtest", ".profile")


@parametrize_combinations([DEFAULT, MINIMAL])
def test_loadtest_reports_requests_without_failures(
    combination: Combination, workspace: Path, venv_bin: Path, make_variables: dict[str, str], run: Run, tmp_path: Path
) -> None:
    """Every kind of client gets responses without failures, in the summary and in the HTML report."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/load.sqlite3"}
    if combination.options["database"] != "none":
        for words in (["alembic", "upgrade", "head"], ["flask", "--app", "my_service.wsgi", "seed"]):
            result = run(venv_bin / words[0], *words[1:], cwd=workspace, **make_variables, **settings)
            assert result.returncode == 0, result.stdout + result.stderr
    if combination.options["auth"] == "accounts":
        flask = [venv_bin / "flask", "--app", "my_service.wsgi", "users"]
        for words in (["create", "ada@example.com", "--role", "importer"], ["create-token", "ada@example.com"]):
            result = run(*flask, *words, cwd=workspace, **make_variables, **settings)
            assert result.returncode == 0, result.stdout + result.stderr
        make_variables["LOADTEST_TOKEN"] = result.stdout.splitlines()[-1]
    with application_server(
        workspace,
        combination,
        venv_bin,
        tmp_path / "log",
        DATABASE_URL=settings["DATABASE_URL"],
        RATE_LIMIT=UNLIMITED,
        RATE_LIMIT_WRITES=UNLIMITED,
    ) as upstream:
        result = run(
            "make", "loadtest", f"URL=http://{upstream.bind}", "SECONDS=8", "USERS=30", cwd=workspace, **make_variables
        )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    # Clients choose requests at random, so only frequent ones are sure to occur.
    expected = {"/docs"}
    if combination.options["example_app"]:
        expected |= {"/api/v1/products", "/api/v1/products/ID, again", "import until it ends"}
    else:
        expected |= {"/health/live"}
    (page,) = (path.read_text(encoding="utf-8") for path in workspace.glob("loadtest.html"))
    for name in expected:
        assert re.search(rf"(GET|JOB) +{re.escape(name)} +\d+ +0\(", output), output
        assert name in page


@parametrize_combinations([DEFAULT])
def test_profile_draws_flame_graph(workspace: Path, make_variables: dict[str, str], run: Run) -> None:
    """The flame graph of a route contains the frames of Flask."""
    result = run("make", "profile", "ROUTE=/docs", "SECONDS=3", cwd=workspace, **make_variables)
    if "Permission Denied" in result.stderr:
        pytest.skip("this machine forbids ptrace")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"/docs: \d+ requests, last status 200", result.stderr)
    svg = (workspace / "profile.svg").read_text(encoding="utf-8")
    assert "full_dispatch_request" in svg


@parametrize_combinations([DEFAULT])
def test_profile_function_prints_lines(workspace: Path, make_variables: dict[str, str], run: Run) -> None:
    """The lines of the view of a route, or of another function, have their times."""
    result = run("make", "profile-function", "ROUTE=/health/live", cwd=workspace, **make_variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"(?m)^ +\d+ +200 .*return \{\"status\": \"ok\"\}$", result.stdout), result.stdout
    function = "FUNCTION=my_service.config.get_settings"
    result = run("make", "profile-function", "ROUTE=/health/ready", function, cwd=workspace, **make_variables)
    assert "Function: get_settings" in result.stdout
    result = run("make", "profile-function", "ROUTE=/nowhere", cwd=workspace, **make_variables)
    assert "Error: no view has the route /nowhere" in result.stderr
    assert result.returncode != 0


@parametrize_combinations([DEFAULT])
def test_profile_uses_allowed_host(workspace: Path, make_variables: dict[str, str], run: Run) -> None:
    """Requests are allowed without `localhost` in ALLOWED_HOSTS, also if that has domains only."""
    for hosts in ("api.example.com:8443,example.com", ".example.com"):
        command = ["make", "profile-function", "ROUTE=/docs"]
        result = run(*command, cwd=workspace, **make_variables, ALLOWED_HOSTS=hosts)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "/docs: 200 requests, last status 200" in result.stderr


@parametrize_combinations([DEFAULT])
def test_profile_rejects_errors(workspace: Path, make_variables: dict[str, str], run: Run) -> None:
    """A response with an error ends the profile with one line, unless STATUS has the status of the response."""
    route, function = "ROUTE=/nowhere", "FUNCTION=my_service.config.get_settings"
    for command in (["profile-function", route, function], ["memory", route], ["profile", route, "SECONDS=1"]):
        result = run("make", *command, cwd=workspace, **make_variables)
        assert result.returncode != 0, command
        message = "Error: /nowhere: status 404; set STATUS=404 to profile such responses"
        assert message in result.stderr.splitlines(), result.stderr
    assert not (workspace / "profile.svg").exists()
    result = run("make", "profile-function", route, function, "STATUS=404", cwd=workspace, **make_variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "/nowhere: 200 requests, last status 404" in result.stderr
    result = run("make", "profile-function", "ROUTE=/docs", "STATUS=404", cwd=workspace, **make_variables)
    assert result.returncode != 0
    assert "Error: /docs: status 200; set STATUS=200 to profile such responses" in result.stderr


LEAK = """
leaked = []
view = app.view_functions["health.live"]


def leak():
    leaked.append(bytearray(1000))
    return view()


app.view_functions["health.live"] = leak
"""


@parametrize_combinations([DEFAULT])
def test_memory_finds_leak(workspace: Path, make_variables: dict[str, str], run: Run) -> None:
    """A view that leaks 1000 bytes a request is reported with them; the reports need no network."""
    command = ["make", "memory", "ROUTE=/health/live", "REQUESTS=300"]

    def leaked() -> int:
        result = run(*command, cwd=workspace, **make_variables)
        assert result.returncode == 0, result.stdout + result.stderr
        found = re.search(r"(\d+) bytes a request", result.stdout)
        assert found, result.stdout
        return int(found[1])

    assert leaked() < 500
    script = workspace / "scripts" / "profile_request.py"
    text = script.read_text(encoding="utf-8")
    anchor = "    app = create_profiled_app()\n    repeat(app, route, lambda count: count == WARM_UP"
    leak = "".join(f"    {line}\n" if line else "\n" for line in LEAK.splitlines())
    script.write_text(text.replace(anchor, anchor.replace("\n", f"\n{leak}", 1)), encoding="utf-8")
    assert 1000 <= leaked() < 1600
    for name in ("memory-peak.html", "memory-leaks.html"):
        page = (workspace / name).read_text(encoding="utf-8")
        assert "health" in page
        assert not re.search(r"<(script|link)[^>]+(src|href)=.https?:", page)
