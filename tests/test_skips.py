"""Tests of tests/skips.py, which turns skips on CI into failures, and of the script .ci/run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix import TEMPLATE
from tests.skips import ALLOWED

SCRIPT = TEMPLATE / ".ci" / "run"
SUITE = """
import pytest

def test_passes():
    pass

def test_without_server():
    pytest.skip("redis-server is not installed")

@pytest.fixture(scope="session")
def engine():
    pytest.skip("this machine runs no containers: no cgroups")

@pytest.mark.parametrize("number", [1, 2])
def test_containers(number, engine):
    pass
"""
CONFTEST = """
from tests import skips

pytest_plugins = ["tests.skips"]
skips.ALLOWED[:] = [skips.Allowed("*::test_containers*", "this machine runs no containers: *", "it is a container")]
"""


def run_suite(folder: Path, *, ci: bool, **files: str) -> tuple[int, list[str]]:
    """Run test modules with the plugin `tests.skips`; return the exit code and the lines of the output."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not re.match("CI$|PYTEST_", name)}
    variables |= {"PYTHONPATH": str(TEMPLATE)} | ({"CI": "1"} if ci else {})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", f"--rootdir={folder}"]
    result = subprocess.run(command, check=False, cwd=folder, env=variables, capture_output=True, text=True)
    return result.returncode, result.stdout.splitlines()


@pytest.mark.parametrize("ci", [True, False])
def test_skip_fails_on_ci(ci: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """A skipped test that is not in the list fails on CI, and is skipped elsewhere."""
    code, lines = run_suite(tmp_path, ci=ci, conftest=CONFTEST, test_suite=SUITE)
    assert code == int(ci)
    assert any("1 failed, 1 passed, 2 skipped" in line for line in lines) == ci
    assert any("redis-server is not installed" in line for line in lines)
    assert ("1 in test_suite.py (redis-server is not installed)" in lines[-1]) != ci
    assert "2 in test_suite.py (this machine runs no containers: no cgroups)" in lines[-1]


def test_skipped_module_fails_on_ci(tmp_path: Path) -> None:
    """A module that skips itself and a test without parameters fail on CI."""
    module = 'import pytest\npytest.skip("no such package", allow_module_level=True)\n'
    assert run_suite(tmp_path, ci=True, conftest=CONFTEST, test_module=module)[0]
    empty = 'import pytest\n@pytest.mark.parametrize("value", [])\ndef test_value(value):\n    pass\n'
    assert run_suite(tmp_path, ci=True, conftest=CONFTEST, test_module=empty)[0]


def test_last_line_without_skipped_tests(tmp_path: Path) -> None:
    """The last line is printed even if no test is skipped."""
    code, lines = run_suite(tmp_path, ci=True, conftest=CONFTEST, test_suite="def test_passes():\n    pass\n")
    assert (code, lines[-1]) == (0, "skipped: nothing")


def test_allowed_skips_name_existing_tests() -> None:
    """The list contains no entry for a test that was removed or renamed."""
    for allowed in ALLOWED:
        path, _, name = allowed.test.rstrip("*").partition("::")
        assert f"def {name}(" in (TEMPLATE / path).read_text(encoding="utf-8")


# Fakes of the programs that `.ci/run` calls. Each call adds a line to the file `calls`.
FAKE_PROGRAM = """#!/bin/sh
echo "${0##*/} $*" >> CALLS
"""
FAKE_PROGRAMS = {
    "apt-get": "case $* in *indextargets*) echo http://a.test/debian ;; *download*) touch newer.deb ;; esac",
    "dpkg-deb": (
        "for program in libexec/docker/cli-plugins/docker-compose bin/kubectl bin/docker; do "
        'install -D /dev/null "$3/usr/$program"; done'
    ),
    # So that none of them is written to this machine.
    "docker": "",
    "make": 'case $* in test*) echo "1 passed"; echo "skipped: nothing"; [ -n "$CI" ] && [ -x "$COMPOSE" ] ;; esac',
}


def run_ci_script(folder: Path, **programs: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a copy of `.ci/run` with fake programs; return its result and the calls."""
    shutil.copytree(SCRIPT.parent, folder / ".ci")
    (folder / "bin").mkdir()
    for name, text in {**FAKE_PROGRAMS, **programs}.items():
        (folder / "bin" / name).write_text(f"{FAKE_PROGRAM.replace('CALLS', str(folder / 'calls'))}{text}\n")
        (folder / "bin" / name).chmod(0o755)
    variables = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "COMPOSE": f"{folder}/plugins/docker-compose",
        "KUBECTL": f"{folder}/plugins/kubectl",
    }
    result = subprocess.run([folder / ".ci/run"], check=False, env=variables, capture_output=True, text=True)
    return result, (folder / "calls").read_text(encoding="utf-8")


def test_ci_runs_all_stages(tmp_path: Path) -> None:
    """All stages run in order, Compose is installed, and the last lines are the times and the skipped tests."""
    result, calls = run_ci_script(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"^make ([\w-]+)", calls, re.MULTILINE) == ["setup", "check", "bench-check", "test"]
    assert re.search(r"(?m)^apt-get .*install .*\bredis-server\b", calls)
    assert (tmp_path / "plugins" / "docker-compose").exists()
    assert (tmp_path / "plugins" / "kubectl").exists()
    stages = re.findall(r"== (\w+): \d+ s", result.stdout)
    assert stages == ["install", "newer", "setup", "check", "bench_check", "test", "all"]
    assert result.stdout.splitlines()[-1] == "skipped: nothing"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("apt-get", "case $* in *install*) exit 1 ;; esac"),
        ("apt-get", "case $* in *download*) exit 1 ;; esac"),
        ("dpkg-deb", "exit 1"),
        ("make", "case $* in test*) exit 1 ;; esac"),
        ("make", "case $* in check*) exit 1 ;; esac"),
    ],
)
def test_failed_stage_fails_ci(name: str, text: str, tmp_path: Path) -> None:
    """If a stage fails, the script fails."""
    result, _ = run_ci_script(tmp_path, **{name: text})
    assert result.returncode


def test_ci_functions_hide_no_program() -> None:
    """No function of the script has the name of a program, because the script would call the function instead."""
    functions = re.findall(r"(?m)^(\w+)\(\)", SCRIPT.read_text(encoding="utf-8"))
    assert functions
    assert not [name for name in functions if shutil.which(name)]
