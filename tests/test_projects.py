"""Every row's project passes its own tests, and the default one sets itself up as it does for its users."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.answers import DEFAULT, FULL, ROWS, Row, each
from tests.conftest import Run
from tests.services import fetch, free_port, serving


@each([row for row in ROWS if row != DEFAULT])
def test_passes_its_own_tests(workspace: Path, environment: Path, run: Run) -> None:
    """All of its tests, with all of its coverage, in the shared environment; the default one does so in its own."""
    result = run(environment / "python", "-m", "pytest", "-p", "no:cacheprovider", "--cov", cwd=workspace)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process")
@each([DEFAULT])
def test_a_row_stays_with_one_process(row: Row, request: pytest.FixtureRequest) -> None:
    """The group is in the test's name, which is how processes are told apart: not every pytest fits every xdist."""
    assert request.node.nodeid.endswith(f"@{row.id}")


@each([DEFAULT])
def test_sets_itself_up(workspace: Path, bare: dict[str, str], run: Run, tmp_path: Path) -> None:
    """With nothing but Python and make, its verbs set up, check, test and serve."""
    programs = tmp_path / "programs"
    programs.mkdir()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix) / "bin" / python
    (programs / "python3").symlink_to(base)
    assert not shutil.which("uv", path="/usr/bin:/bin")
    bare = {**bare, "PATH": f"{programs}:/usr/bin:/bin"}

    for verb in ("test", "check"):
        result = run("make", verb, cwd=workspace, PATH=bare["PATH"])
        assert result.returncode == 0, result.stdout + result.stderr

    port = free_port()
    site = f"http://127.0.0.1:{port}"
    command = ["make", "run", f"PORT={port}"]
    with serving(command, workspace, bare, f"{site}/health/ready", tmp_path / "log"):
        for page, kind in {"/": "text/html", "/docs": "text/html", "/health/ready": "application/json"}.items():
            answer = fetch(site + page, Accept="text/html,*/*;q=0.5")
            assert answer.status == 200, page
            assert answer.headers.get_content_type() == kind, page
            assert answer.headers["Content-Security-Policy"] or kind != "text/html", page
    with pytest.raises(OSError, match="refused"):
        fetch(site, within=5)


@each([FULL])
def test_the_example_goes_in_one_step(workspace: Path, environment: Path, run: Run) -> None:
    """What the README says removes the example leaves a project that passes its own checks."""
    section = (workspace / "README.md").read_text(encoding="utf-8").partition("## The example")[2]
    commands = section.partition("```console\n")[2].partition("```")[0]
    assert run("bash", "-e", "-c", commands, cwd=workspace).returncode == 0
    for words in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pytest", "--cov"]):
        result = run(environment / "python", "-m", *words, cwd=workspace)
        assert result.returncode == 0, result.stdout + result.stderr
    for path in [*workspace.glob("src/**/*.py"), *workspace.glob("tests/**/*.py"), workspace / "Makefile"]:
        assert not re.search("catalog|seed", path.read_text(encoding="utf-8")), path
