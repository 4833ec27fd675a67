"""The CPUs that this process may use; Python does not know of a container's quota."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path

ROOT = Path("/")

# What reading raises where there is no such file, and where it says "max".
NO_QUOTA = (OSError, ValueError)


def count_cpus() -> int:
    """Count what the affinity and each quota allow; a part of a CPU is one."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min([allowed, *(ceil(quota) for quota in find_quotas() if quota > 0)])


def find_quotas() -> Iterator[float]:
    """Find the quotas, in CPUs, of our control group and of those around it."""
    with suppress(OSError):
        for line in (ROOT / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from read_quotas(ROOT / "sys/fs/cgroup", path, "cpu.max")
            elif "cpu" in controllers.split(","):
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from read_quotas(ROOT / "sys/fs/cgroup/cpu", path, *files)


def read_quotas(root: Path, path: str, *names: str) -> Iterator[float]:
    """Read quota and period of each group from `path` up, in one file (cgroup 2) or two (1)."""
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        with suppress(*NO_QUOTA):
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            yield int(quota) / int(period)
