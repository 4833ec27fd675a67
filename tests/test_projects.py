"""Tests of rendered projects: their own tests, setup, checks and the development server."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import WRITE_BYTECODE, Run, link_venv
from tests.core_tests import FILES, remove_other_tests, selected_tests
from tests.matrix import COMBINATIONS, DEFAULT, VALUE_COVER, Combination, parametrize_combinations
from tests.services import fetch, free_port, serving

ORDINARY = Path(__file__).with_name("ordinary")
# Files that commands other than `make setup` write.
GENERATED_FILES = (
    "development.sqlite3",
    "loadtest.html",
    "memory-leaks.html",
    "memory-peak.html",
    "profile.svg",
    "uv.lock",
)
# Variables that a shell may export, besides the settings of the project.
EXPORTED_VARIABLES = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "FLASK_TESTING", "HTTP_PROXY", "http_proxy")
# A combination for each kind of home page.
HOME_PAGE_COMBINATIONS = {
    (combination.options["web_pages"], combination.options["example_app"]): combination
    for combination in reversed(COMBINATIONS)
}


@parametrize_combinations()
def test_project_passes_its_tests(
    combination: Combination, project_with_core_tests: Path, venv_bin: Path, run: Run
) -> None:
    """All tests of a project succeed, in a folder with generated files and in a shell with invalid variables.

    So do the tests of `core` that are selected for this combination. The folder contains static files that `make build`
    has built if the combination is among the few with every value.
    """
    remove_other_tests(project_with_core_tests, combination)
    variables = link_venv(project_with_core_tests, venv_bin)
    if combination in VALUE_COVER:
        result = run("make", "setup", "build", cwd=project_with_core_tests, **variables)
        assert (project_with_core_tests / "public" / ".manifest.json").exists(), result.stdout + result.stderr
    for name in GENERATED_FILES:
        (project_with_core_tests / name).write_text("junk", encoding="utf-8")
    # Without the variables that OpenTelemetry reads itself, also in tests: it logs that they are invalid.
    settings = re.findall(
        r"(?m)^#?(?!OTEL_)([A-Z_]+)=", (project_with_core_tests / ".env.example").read_text(encoding="utf-8")
    )
    junk = dict.fromkeys([*settings, *EXPORTED_VARIABLES], "junk")
    # Coverage doubles the time, so only test_servers_job_passes measures it.
    # Not `python -m pytest`, which adds the folder to the module search path: `make test` runs this program.
    result = run(venv_bin / "pytest", "-p", "no:cacheprovider", cwd=project_with_core_tests, **variables, **junk)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_test_of_core_is_selected() -> None:
    """Each file of tests/core runs in at least one combination."""
    assert {*FILES} == set.union(*selected_tests().values())


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process")
@parametrize_combinations([DEFAULT])
def test_combination_runs_in_one_process(combination: Combination, request: pytest.FixtureRequest) -> None:
    """Xdist appends the group of a test to its ID, so this version of xdist supports groups with this pytest."""
    assert request.node.nodeid.endswith(f"@{combination.id}")


@parametrize_combinations([DEFAULT])
def test_default_project_sets_itself_up(workspace: Path, clean_env: dict[str, str], run: Run, tmp_path: Path) -> None:
    """With only Python and make, the targets set up, check, test and serve a project in a folder with a space."""
    workspace = workspace.rename(tmp_path / "my service")
    programs = tmp_path / "programs"
    programs.mkdir()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix) / "bin" / python
    (programs / "python3").symlink_to(base)
    assert not shutil.which("uv", path="/usr/bin:/bin")
    clean_env = {**clean_env, **WRITE_BYTECODE, "PATH": f"{programs}:/usr/bin:/bin"}
    elsewhere = tmp_path / "elsewhere"
    foreign = {name: str(elsewhere) for name in ("PIP_TARGET", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV")}
    foreign |= {"UV_PYTHON": "3.8", "UV_PYTHON_PREFERENCE": "only-managed", "UV_WORKING_DIR": "/"}
    foreign |= dict.fromkeys(("PIP_USER", "UV_FROZEN", "UV_NO_DEFAULT_GROUPS", "UV_NO_DEV", "UV_NO_EDITABLE"), "1")

    # The remaining tests run in the shared environment.
    for arguments in (["test", "ARGS=-k health"], ["check"]):
        result = run("make", *arguments, cwd=workspace, PATH=clean_env["PATH"], **WRITE_BYTECODE, **foreign)
        assert result.returncode == 0, result.stdout + result.stderr
    assert not elsewhere.exists()

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["make", "run", f"PORT={port}"]
    with serving(command, workspace, clean_env, f"{url}/health/ready", tmp_path / "log"):
        for path, content_type in {"/": "text/html", "/docs": "text/html", "/health/ready": "application/json"}.items():
            response = fetch(url + path, Accept="text/html,*/*;q=0.5")
            assert response.status == 200, path
            assert response.headers.get_content_type() == content_type, path
            assert response.headers["Content-Security-Policy"] or content_type != "text/html", path
    with pytest.raises(OSError, match="refused"):
        fetch(url, timeout=5)


@parametrize_combinations([DEFAULT])
def test_ordinary_code_passes_checks(workspace: Path, venv_bin: Path, run: Run) -> None:
    """Code of a typical Flask developer passes `make check`: without docstrings, test types or full coverage."""
    variables = link_venv(workspace, venv_bin)
    (factory,) = workspace.glob("src/*/__init__.py")
    text = factory.read_text(encoding="utf-8").replace("    config,\n", "    config,\n    notes,\n", 1)
    text = text.replace("    return app\n", "    app.register_blueprint(notes.bp)\n\n    return app\n")
    factory.write_text(text, encoding="utf-8")
    shutil.copy(ORDINARY / "notes.py", factory.with_name("notes.py"))
    shutil.copy(ORDINARY / "notes_tests.py", workspace / "tests" / "test_notes.py")
    commands = [["migration", "m=add notes"], ["format"], ["check"], ["test", "ARGS=--cov --cov-fail-under=0 -k notes"]]
    for command in commands:
        result = run("make", *command, cwd=workspace, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
    assert "notes.py" in result.stdout, "the coverage report must list the module"


@parametrize_combinations(HOME_PAGE_COMBINATIONS.values())
def test_printed_url_returns_a_page(workspace: Path, venv_bin: Path, clean_env: dict[str, str], tmp_path: Path) -> None:
    """The URL that `make run` prints returns 200 to browsers and to programs."""
    variables = {**clean_env, **link_venv(workspace, venv_bin), "PYTHONUNBUFFERED": "1"}
    port = free_port()
    log = tmp_path / "log"
    with serving(["make", "run", f"PORT={port}"], workspace, variables, f"http://127.0.0.1:{port}/health/live", log):
        (url,) = {*re.findall(r"Running on (http://\S+)", log.read_text(encoding="utf-8"))}
        for accept in ("text/html,*/*;q=0.5", "*/*"):
            assert fetch(url, Accept=accept).status == 200, accept
