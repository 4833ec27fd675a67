"""On CI a skipped test fails, unless it is listed here. pytest's last line lists the skipped tests."""

import os
from collections import Counter
from collections.abc import Generator
from fnmatch import fnmatchcase
from typing import NamedTuple

import pytest


class Allowed(NamedTuple):
    """A test that may be skipped on CI."""

    test: str  # glob pattern of the test's ID
    reason: str  # glob pattern of the reason that `pytest.skip` gets
    why: str


ALLOWED = [
    Allowed(
        "tests/test_containers.py::test_containers_run*",
        "this machine runs no containers: *",
        "a machine that is a container itself may not start others, whatever is installed",
    ),
    Allowed(
        "tests/test_deploy_compose.py::test_releases_lose_no_request*",
        "this machine runs no containers: *",
        "a machine that is a container itself may not start others, whatever is installed",
    ),
    Allowed(
        "tests/test_deploy_compose.py::test_releases_of_small_projects*",
        "this machine runs no containers: *",
        "a machine that is a container itself may not start others, whatever is installed",
    ),
    Allowed(
        "tests/test_deploy_kubernetes.py::test_pods_run_and_stop_without_losing_requests*",
        "this machine runs no containers: *",
        "a machine that is a container itself may not start others, whatever is installed",
    ),
    Allowed(
        "tests/test_deploy_systemd.py::test_server_runs*",
        "this machine runs no containers: *",
        "a machine that is a container itself may not start others, whatever is installed",
    ),
    Allowed(
        "tests/test_loadtest.py::test_profile_draws_flame_graph*",
        "this machine forbids ptrace",
        "the kernel of a machine that is a container may forbid it, also to root",
    ),
    Allowed(
        "tests/test_servers.py::test_silent_name_server_costs_two_seconds*",
        "this machine forbids namespaces",
        "the kernel of a machine may forbid them to users",
    ),
]


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the reason of a skip."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure on CI."""
    if report.skipped and os.environ.get("CI"):
        reason = reason_of(report)
        if not any(fnmatchcase(report.nodeid, one.test) and fnmatchcase(reason, one.reason) for one in ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"{reason}\nNo test may be skipped on CI, except those in tests/skips.py."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Check the report of each phase of a test."""
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Check modules that skip themselves."""
    report = yield
    judge(report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Print each file and reason of skipped tests once, below pytest's summary."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal and not hasattr(config, "workerinput"):
        skipped = Counter(
            (report.nodeid.partition("::")[0], reason_of(report)) for report in terminal.stats.get("skipped", [])
        )
        parts = [f"{number} in {path} ({reason})" for (path, reason), number in sorted(skipped.items())]
        line = f"skipped: {'; '.join(parts) or 'nothing'}"
        print(" ".join(line.split()))
