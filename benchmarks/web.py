"""Requests through real servers: the whole default project beside Flask alone, proxies and caches beside neither."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.figures import Bar, Figure
from benchmarks.load import Sample, Side, in_turns, ratio
from benchmarks.projects import Project
from tests.proxies import Nginx, ask, private_folder

BARE = "Flask alone, gunicorn"
OURS = "the project, gunicorn"
LIST = "/api/v1/products?limit=20"
PRODUCT = "/api/v1/products/1"
TEXT = "/docs/openapi.json"
SYNC = ["gunicorn", "--no-control-socket", "--bind={bind}", "my_service.wsgi:app"]


class Servers(NamedTuple):
    """The addresses of what runs beside the application."""

    database: str
    cache: str

    @property
    def settings(self) -> dict[str, str]:
        """As a project takes them."""
        return {"DATABASE_URL": self.database, "CACHE_URL": self.cache}

    @property
    def alone(self) -> dict[str, str]:
        """With one process: of several, chance gives one more connections than another, and it is what is measured."""
        return {**self.settings, "WEB_CONCURRENCY": "1"}


def side(port: int, path: str, *sessions: int, **headers: str) -> Side:
    """Take an answer for what is expected of all; the second one, so that what can be kept is kept."""
    ask(port, path, **headers)
    reply = ask(port, path, **headers)
    assert reply.status == 200, reply
    sent = tuple(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return Side(f"http://127.0.0.1:{port}{path}", reply.body, sessions, sent)


@contextmanager
def sides(projects: dict[str, Project], servers: Servers, *, is_long: bool) -> Iterator[dict[str, Side]]:
    """Start all of them; who is not asked takes nothing of the processor."""
    with ExitStack() as stack:
        default, settings = projects["gunicorn"], servers.alone
        running = {
            BARE: default.serving(settings, "bare"),
            OURS: default.serving(settings),
            "Flask alone, gunicorn as it comes": default.serving(settings, "bare", SYNC),
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
            found[name] = side(port, "/small", session)
        yield found | proxied(stack, default, servers.settings) | varied(stack, default, servers)


def proxied(stack: ExitStack, project: Project, settings: dict[str, str]) -> dict[str, Side]:
    """A static file and a public answer: from nginx, and from who is behind it."""
    folder = stack.enter_context(private_folder())
    public = folder / "public"
    project.build(public, **settings)
    (style,) = (public / "static").glob("style.*.css")
    static = f"/static/{style.name}"
    more = {**settings, "STATIC_ROOT": str(public), "TRUSTED_PROXY_HOPS": "1", "CACHE_VIEW_LIFETIME": "3600"}
    port, session = stack.enter_context(project.serving(more))
    bare, bare_session = stack.enter_context(project.serving(more, "bare"))
    nginx = Nginx(project.folder, folder, f"127.0.0.1:{port}")
    proxy = stack.enter_context(nginx.running()).pid
    return {
        "a static file, Flask": side(bare, static, bare_session),
        "a static file, nginx": side(nginx.http, static, proxy),
        "a public answer, the application": side(port, LIST, session),
        "a public answer, nginx": side(nginx.http, LIST, proxy, session),
        "text, nginx with gzip": side(nginx.http, TEXT, proxy, session, Accept_Encoding="gzip"),
        "text, nginx without": side(nginx.http, TEXT, proxy, session),
    }


def varied(stack: ExitStack, project: Project, servers: Servers) -> dict[str, Side]:
    """The same project with other settings."""
    port, session = stack.enter_context(project.serving(servers.alone))
    few = {"DATABASE_POOL_SIZE": "1", "DATABASE_POOL_OVERFLOW": "9"}
    again, again_session = stack.enter_context(project.serving({**servers.alone, **few}))
    found = {
        "connections for one request": side(port, "/small", session, Connection="close"),
        "a product, a pool": side(port, PRODUCT, session),
        "a product, a pool of one": side(again, PRODUCT, again_session),
    }
    for name, settings in {"one process": servers.alone, "two processes": servers.settings}.items():
        port, session = stack.enter_context(project.serving({**settings, "TRUSTED_PROXY_HOPS": "1"}))
        folder = stack.enter_context(private_folder())
        nginx = Nginx(project.folder, folder, f"127.0.0.1:{port}")
        proxy = stack.enter_context(nginx.running()).pid
        found[name] = side(nginx.http, "/small", proxy, session)
    return found


def measure(
    projects: dict[str, Project], servers: Servers, rounds: int, seconds: int, *, is_long: bool
) -> tuple[list[Figure], list[Figure], list[Bar]]:
    """Let all take turns, and compare."""
    with sides(projects, servers, is_long=is_long) as all_sides:
        asks = {name: partial(one.ask, seconds) for name, one in all_sides.items()}
        # What differs least is asked longest.
        asks |= {name: partial(all_sides[name].ask, seconds * 2) for name in (BARE, OURS)}
        samples = in_turns(asks, rounds)
    ours = [name for name in samples if name.startswith("the project")]
    fastest = max(ours, key=lambda name: median(one.requests for one in samples[name]))

    def compare(what: str, above: str, below: str, goal: float | None = None) -> Figure:
        first, second = samples[above], samples[below]
        rate = ratio([one.requests for one in first], [one.requests for one in second])
        cpu = ratio([one.cpu for one in second], [one.cpu for one in first])
        return Figure(what, rate, goal, medians=f"by CPU {cpu:.2f}; {told(first)} / {told(second)}")

    figures = [
        compare("small JSON: the project / Flask alone, the same gunicorn", OURS, BARE, 0.9),
        compare(f"small JSON: {fastest} / Flask alone, gunicorn", fastest, BARE, 2.5),
        compare("a static file: nginx / Flask", "a static file, nginx", "a static file, Flask", 10),
        compare(
            "a public answer: nginx / application", "a public answer, nginx", "a public answer, the application", 10
        ),
    ]
    settings = [
        compare("two processes / one, behind nginx", "two processes", "one process"),
        compare("connections that are kept / for one request each", OURS, "connections for one request"),
        compare(
            "4 threads: 5 database connections that are kept / 1, and 9 that are not",
            "a product, a pool",
            "a product, a pool of one",
        ),
        compare("text without compression / gzip", "text, nginx without", "text, nginx with gzip"),
    ]
    bars = [
        Bar(name, median(one.requests for one in found), f"{median(one.cpu for one in found):.0f} µs CPU", name in ours)
        for name, found in samples.items()
    ]
    return figures, settings, bars


def told(samples: list[Sample]) -> str:
    """Write the medians of some rounds."""
    requests, cpu, p50, p99 = (median(values) for values in zip(*samples, strict=True))
    return f"{requests:,.0f}/s, {cpu:.0f} µs CPU, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
