"""HTTP throughput of the default project and of Flask alone, with and without a reverse proxy and a cache."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.load import Sample, Target
from benchmarks.measurements import Bar, Measurement, alternate, ratio
from benchmarks.projects import Project
from tests.proxies import Nginx, private_folder, send_request

BARE = "Flask alone, gunicorn"
OURS = "the project, gunicorn"
LIST = "/api/v1/products?limit=20"
PRODUCT = "/api/v1/products/1"
OPENAPI = "/docs/openapi.json"
# gunicorn with its default worker class, without threads.
SYNC = ["gunicorn", "--no-control-socket", "--bind={bind}", "my_service.wsgi:app"]


class Servers(NamedTuple):
    """URLs of the backing services."""

    database: str
    cache: str

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a project."""
        return {"DATABASE_URL": self.database, "CACHE_URL": self.cache}

    @property
    def single_process_settings(self) -> dict[str, str]:
        """Settings for one process. Several processes would get random, unequal numbers of connections."""
        return {**self.settings, "WEB_CONCURRENCY": "1"}


def make_target(port: int, path: str, *sessions: int, **headers: str) -> Target:
    """Return a target that expects the current response. The first request fills the caches."""
    send_request(port, path, **headers)
    reply = send_request(port, path, **headers)
    assert reply.status == 200, reply
    header_lines = tuple(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return Target(f"http://127.0.0.1:{port}{path}", reply.body, sessions, header_lines)


@contextmanager
def running_targets(projects: dict[str, Project], servers: Servers, *, is_long: bool) -> Iterator[dict[str, Target]]:
    """Start all servers, and yield their targets by name. An idle server uses no CPU time."""
    with ExitStack() as stack:
        default, settings = projects["gunicorn"], servers.single_process_settings
        running = {
            BARE: default.serving(settings, "bare"),
            OURS: default.serving(settings),
            "Flask alone, gunicorn with its defaults": default.serving(settings, "bare", SYNC),
            "WSGI alone, gunicorn": default.serving(settings, "raw"),
            "the project, granian": projects["granian"].serving(settings),
        }
        for name in ("uwsgi", "granian") if is_long else ():
            running[f"Flask alone, {name}"] = projects[name].serving(settings, "bare")
            running[f"WSGI alone, {name}"] = projects[name].serving(settings, "raw")
        if is_long:
            running["the project, uwsgi"] = projects["uwsgi"].serving(settings)
            running["the project, gunicorn with gevent"] = default.serving({**settings, "WEB_WORKER_CLASS": "gevent"})
        found = {}
        for name, serving in running.items():
            port, session = stack.enter_context(serving)
            found[name] = make_target(port, "/small", session)
        yield found | proxy_targets(stack, default, servers.settings) | settings_targets(stack, default, servers)


def proxy_targets(stack: ExitStack, project: Project, settings: dict[str, str]) -> dict[str, Target]:
    """Return the targets for a static file and a public response, from nginx and from the application."""
    folder = stack.enter_context(private_folder())
    public = folder / "public"
    project.build_assets(public, **settings)
    (style,) = (public / "static").glob("style.*.css")
    static = f"/static/{style.name}"
    all_settings = {**settings, "STATIC_ROOT": str(public), "TRUSTED_PROXY_HOPS": "1", "CACHE_VIEW_TTL": "3600"}
    port, session = stack.enter_context(project.serving(all_settings))
    bare, bare_session = stack.enter_context(project.serving(all_settings, "bare"))
    nginx = Nginx(project.folder, folder, f"127.0.0.1:{port}")
    proxy = stack.enter_context(nginx.running()).pid
    return {
        "a static file, Flask": make_target(bare, static, bare_session),
        "a static file, nginx": make_target(nginx.http, static, proxy),
        "a public response, the application": make_target(port, LIST, session),
        "a public response, nginx": make_target(nginx.http, LIST, proxy, session),
        "text, nginx with gzip": make_target(nginx.http, OPENAPI, proxy, session, Accept_Encoding="gzip"),
        "text, nginx without": make_target(nginx.http, OPENAPI, proxy, session),
    }


def settings_targets(stack: ExitStack, project: Project, servers: Servers) -> dict[str, Target]:
    """Return the targets of the same project with other settings."""
    port, session = stack.enter_context(project.serving(servers.single_process_settings))
    small_pool = {"DATABASE_POOL_SIZE": "1", "DATABASE_MAX_OVERFLOW": "9"}
    pool_of_one, pool_session = stack.enter_context(project.serving({**servers.single_process_settings, **small_pool}))
    found = {
        "a connection per request": make_target(port, "/small", session, Connection="close"),
        "a product, pool of 5": make_target(port, PRODUCT, session),
        "a product, pool of 1": make_target(pool_of_one, PRODUCT, pool_session),
    }
    for name, settings in {"one process": servers.single_process_settings, "two processes": servers.settings}.items():
        port, session = stack.enter_context(project.serving({**settings, "TRUSTED_PROXY_HOPS": "1"}))
        folder = stack.enter_context(private_folder())
        nginx = Nginx(project.folder, folder, f"127.0.0.1:{port}")
        proxy = stack.enter_context(nginx.running()).pid
        found[name] = make_target(nginx.http, "/small", proxy, session)
    return found


def measure(
    projects: dict[str, Project], servers: Servers, rounds: int, seconds: int, *, is_long: bool
) -> tuple[list[Measurement], list[Measurement], list[Bar]]:
    """Measure all targets in alternation.

    Return the measurements with goals, the effects of settings, and the bars of the chart.
    """
    with running_targets(projects, servers, is_long=is_long) as all_targets:
        loads = {name: partial(one.load, seconds) for name, one in all_targets.items()}
        # This pair has the smallest difference, so its rounds take twice as long.
        loads |= {name: partial(all_targets[name].load, seconds * 2) for name in (BARE, OURS)}
        samples = alternate(loads, rounds)
    ours = [name for name in samples if name.startswith("the project")]
    fastest = max(ours, key=lambda name: median(one.requests for one in samples[name]))

    def compare(title: str, numerator: str, denominator: str, goal: float | None = None) -> Measurement:
        first, second = samples[numerator], samples[denominator]
        rate = ratio([one.requests for one in first], [one.requests for one in second])
        cpu = ratio([one.cpu for one in second], [one.cpu for one in first])
        return Measurement(title, rate, goal, medians=f"by CPU {cpu:.2f}; {summarize(first)} / {summarize(second)}")

    measurements = [
        compare("small JSON: the project / Flask alone, the same gunicorn", OURS, BARE, 0.9),
        compare(f"small JSON: {fastest} / Flask alone, gunicorn", fastest, BARE, 2.5),
        compare("a static file: nginx / Flask", "a static file, nginx", "a static file, Flask", 10),
        compare(
            "a public response: nginx / application",
            "a public response, nginx",
            "a public response, the application",
            10,
        ),
    ]
    settings = [
        compare("two processes / one, behind nginx", "two processes", "one process"),
        compare("keep-alive / one connection per request", OURS, "a connection per request"),
        compare(
            "4 threads: pool of 5 database connections / pool of 1 and overflow of 9",
            "a product, pool of 5",
            "a product, pool of 1",
        ),
        compare("text without compression / gzip", "text, nginx without", "text, nginx with gzip"),
    ]
    bars = [
        Bar(name, median(one.requests for one in found), f"{median(one.cpu for one in found):.0f} µs CPU", name in ours)
        for name, found in samples.items()
    ]
    return measurements, settings, bars


def summarize(samples: list[Sample]) -> str:
    """Return the medians of all rounds as text."""
    requests, cpu, p50, p99 = (median(values) for values in zip(*samples, strict=True))
    return f"{requests:,.0f}/s, {cpu:.0f} µs CPU, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
