"""Cost of authentication: what each value of the option `auth` imports, CPU time of requests, and equal times."""

import json
import os
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.measurements import Measurement, alternate
from benchmarks.projects import PACKAGE, Project
from benchmarks.render_time import TEMPLATE
from tests.services import PostgreSQL

VALUES = ("none", "jwt", "oidc", "accounts")
# Both projects of `benchmarks.accounts` are imported in one process.
PACKAGES = {"accounts": "with_accounts", "none": "without_auth"}
UNLIMITED = {f"RATE_LIMIT_{name}": "100000000/second" for name in ("LOGIN", "LOGIN_ACCOUNT", "ACCOUNT_MAILS", "WRITES")}
# No request is sent to these.
PROVIDERS = {
    "JWT_ISSUER": "https://issuer.example.com",
    "JWT_AUDIENCE": "service",
    "JWT_JWKS_URL": "https://issuer.example.com/jwks.json",
    "OIDC_ISSUER": "https://issuer.example.com",
    "OIDC_CLIENT_ID": "service",
}
# Prints CPU seconds, the peak memory in kB, and the names of all modules.
IMPORT = f"""
import json, resource, sys, time
started = time.process_time()
from {PACKAGE} import create_app
create_app()
used = time.process_time() - started
print(json.dumps([used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sorted(sys.modules)]))
"""


class Imports(NamedTuple):
    """Number of modules, CPU milliseconds, megabytes of memory, and the packages that `none` does not import."""

    value: str
    modules: int
    milliseconds: float
    megabytes: float
    packages: list[str]


class Authentication(NamedTuple):
    """All measurements of authentication."""

    measurements: list[Measurement]
    imports: list[Imports]


def measure(folder: Path, programs: Path, rounds: int, database: PostgreSQL, **settings: str) -> Authentication:
    """Measure requests and imports."""
    return Authentication(
        measure_requests(folder, programs, rounds, database, **settings),
        measure_imports(folder, programs, rounds, **settings, **PROVIDERS),
    )


def measure_imports(folder: Path, programs: Path, rounds: int, **settings: str) -> list[Imports]:
    """Measure the import of the application, and `create_app()`, for each value of the option."""
    projects = {value: Project(folder / f"imports-{value}", programs, auth=value) for value in VALUES}

    def run(project: Project) -> tuple[float, int, list[str]]:
        cpu, memory, modules = json.loads(project.run("python", "-c", IMPORT, **settings).splitlines()[-1])
        return cpu, memory, modules

    targets = {value: lambda project=project: run(project) for value, project in projects.items()}
    samples = alternate(targets, rounds)
    found = []
    for value, runs in samples.items():
        modules = runs[0][2]
        packages = top_level(modules) - top_level(samples["none"][0][2]) - sys.stdlib_module_names
        found.append(
            Imports(
                value,
                len(modules),
                median(cpu for cpu, _, _ in runs) * 1000,
                median(memory for _, memory, _ in runs) * 1024 / 1_000_000,
                sorted(packages),
            )
        )
    return found


def top_level(modules: list[str]) -> set[str]:
    """Return the public packages of modules."""
    return {name.partition(".")[0] for name in modules if not name.startswith("_")}


def measure_requests(
    folder: Path, programs: Path, rounds: int, database: PostgreSQL, **settings: str
) -> list[Measurement]:
    """Run `benchmarks.accounts` with two projects, and compare its results."""
    projects = {
        value: Project(folder / package, programs, auth=value, project_slug=package.replace("_", "-"))
        for value, package in PACKAGES.items()
    }
    settings = {**settings, **UNLIMITED, "DATABASE_URL": database.create_database().url}
    project = projects["accounts"]
    project.run("alembic", "upgrade", "head", **settings)
    result = folder / "accounts.json"
    path = os.pathsep.join(str(folder) for folder in (*(one.folder / "src" for one in projects.values()), TEMPLATE))
    project.run("python", "-m", "benchmarks.accounts", str(rounds), result, **settings, PYTHONPATH=path)
    found = json.loads(result.read_text(encoding="utf-8"))
    cpu = {name: median(samples) for name, samples in found["cpu"].items()}
    differences = {
        name: median(one - none for one, none in zip(samples, found["cpu"]["none"], strict=True))
        for name, samples in found["cpu"].items()
    }
    times = {name: median(samples) for name, samples in found["milliseconds"].items()}

    def added(title: str, name: str, goal: float | None) -> Measurement:
        medians = " / ".join(f"{cpu[one]:.1f} µs" for one in (name, "none"))
        return Measurement(title, differences[name], goal, at_least=False, unit=" µs CPU", medians=medians)

    def queries(title: str, name: str, goal: int) -> Measurement:
        return Measurement(title, found["queries"][name], goal, at_least=False)

    def difference(title: str, first: str, second: str) -> Measurement:
        value = abs(times[first] / times[second] - 1) * 100
        medians = f"{first} {times[first]:.1f} ms / {second} {times[second]:.1f} ms"
        return Measurement(title, value, 5, at_least=False, unit=" %", medians=medians)

    return [
        added("an anonymous request: accounts, more than none", "accounts", 5),
        queries("an anonymous request: queries", "accounts", 0),
        added("a request of a known user: accounts, more than none", "known", None),
        queries("a request of a known user: queries", "known", 1),
        difference("a wrong password, with and without an account: difference", "known address", "unknown address"),
        difference("a registration, with and without an account: difference", "registered address", "new address"),
    ]
