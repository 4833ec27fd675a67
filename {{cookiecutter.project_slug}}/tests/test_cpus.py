import os
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import cpus


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine with eight CPUs."""
    monkeypatch.setattr(cpus, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(8)}, raising=False)
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_here() -> None:
    assert 1 <= cpus.count_cpus() <= (os.cpu_count() or 1)


def test_without_control_groups(machine: Path) -> None:
    assert machine.is_dir()
    assert cpus.count_cpus() == 8


def test_without_affinity(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.is_dir()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpus.count_cpus() == 1


@pytest.mark.parametrize(
    ("own", "around", "expected"),
    [
        ("max 100000", "max 100000", 8),
        ("50000 100000", "max 100000", 1),
        ("250000 100000", "max 100000", 3),
        ("max 100000", "200000 100000", 2),
        ("400000 100000", "200000 100000", 2),
        ("1600000 100000", "max 100000", 8),
    ],
)
def test_version_2(machine: Path, own: str, around: str, expected: int) -> None:
    write(
        machine,
        {
            "proc/self/cgroup": "0::/web/app\n",
            "sys/fs/cgroup/web/app/cpu.max": own,
            "sys/fs/cgroup/web/cpu.max": around,
        },
    )
    assert cpus.count_cpus() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("150000", 2)])
def test_version_1(machine: Path, quota: str, expected: int) -> None:
    # In a container the group has the path of the host, which is not there.
    write(
        machine,
        {
            "proc/self/cgroup": "5:memory:/docker/f00\n4:cpu,cpuacct:/docker/f00\n0::/docker/f00\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert cpus.count_cpus() == expected
