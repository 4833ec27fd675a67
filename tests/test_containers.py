"""Images and services: what is written of them on every row, and on some rows what they do when they run."""

import http.client
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.answers import DEFAULT, ROWS, Row, Value, each
from tests.conftest import Run
from tests.containers import Engine, Project, compose_program, private_engine
from tests.services import PATIENCE, fetch, wait_until

Services = dict[str, dict[str, Any]]

# What a project asks of its surroundings, and which rows differ most in that.
PARTS = ("database", "cache", "task_queue", "wsgi_server", "reverse_proxy")
MEGABYTE = 1_000_000


def differing(number: int) -> list[Row]:
    """The default row, and those that have most values, pairs of servers and examples with it."""

    def worth(others: tuple[Row, ...]) -> tuple[int, ...]:
        rows = [row.options for row in (DEFAULT, *others)]
        values = {(part, options[part]) for options in rows for part in PARTS}
        pairs = {(options["wsgi_server"], options["reverse_proxy"]) for options in rows}
        return len(values), len(pairs), sum(bool(options["example_app"]) for options in rows)

    return [DEFAULT, *max(combinations(ROWS[1:], number - 1), key=worth)]


RUN = differing(4)


def expected_services(options: dict[str, Value]) -> set[str]:
    """The services that a row's answers ask for."""
    wanted = {
        "web": True,
        "proxy": options["reverse_proxy"] != "none",
        "migrate": options["database"] != "none",
        "database": options["database"] in ("postgresql", "mysql"),
        "cache": options["cache"] in ("redis", "memcached"),
        **dict.fromkeys(("worker", "scheduler", "broker"), options["task_queue"] != "none"),
    }
    return {name for name, is_wanted in wanted.items() if is_wanted}


def seconds(text: str) -> float:
    """A period as Compose writes it."""
    return sum(
        float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text)
    )


def secrets_of(project: Path) -> dict[str, str]:
    """The secrets that the hook has made for containers."""
    lines = (project / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]*(PASSWORD|SECRET_KEY)=", line))


@pytest.fixture
def read(bare: dict[str, str]) -> Callable[..., object]:
    """Have Compose read a project; what it says of it, resolved."""

    def read(project: Path, *words: str, **variables: str) -> object:
        command: list[str | Path] = [compose_program(), *words, "config", "--format", "json"]
        result = subprocess.run(
            command,
            check=False,
            cwd=project,
            env={**bare, **variables},
            capture_output=True,
            text=True,
        )
        return json.loads(result.stdout) if result.returncode == 0 else result.stderr

    return read


@pytest.fixture
def services(project: Path, read: Callable[..., object]) -> Services:
    """The services of a row."""
    whole = read(project)
    assert isinstance(whole, dict), whole
    found: Services = whole["services"]
    return found


@each()
def test_only_what_was_chosen(row: Row, project: Path, services: Services) -> None:
    """Each service is there for an answer, and uses each network and volume that is declared."""
    assert services.keys() == expected_services(row.options)
    # Compose itself drops what nothing uses.
    whole = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    used = {mount["source"] for service in services.values() for mount in service.get("volumes", [])}
    assert used == {*whole.get("volumes", {})}
    assert {name for service in services.values() for name in service["networks"]} == {*whole["networks"]}


@each()
def test_checkers_find_nothing(project: Path, environment: Path, run: Run) -> None:
    """The schema of Compose's files, and hadolint."""
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml", "compose.dev.yaml"],
        ["hadolint", "--failure-threshold", "style", "Dockerfile"],
    ):
        result = run(environment / command[0], *command[1:], cwd=project)
        assert result.returncode == 0, result.stdout + result.stderr


@each()
def test_services_are_contained(project: Path, services: Services) -> None:
    """Limits, health, logs that end, no privileges; one port, on loopback."""
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"] == {"max-file": "3", "max-size": "10m"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only", False) is (service["image"].partition(":")[0] != "rabbitmq"), name
        assert not {"container_name", "privileged", "cap_add"} & service.keys(), name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert service["stop_grace_period"], name
        has_own_check = bool(service.get("healthcheck", {}).get("test"))
        target = service.get("build", {}).get("target")
        stage = dockerfile.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
        assert has_own_check or "\nHEALTHCHECK " in stage, name
        if target:
            assert re.findall(r"(?m)^USER (.*)", stage) == ["10001:0"], name
        else:
            assert re.fullmatch(r"[a-z]+:\d+(\.\d+)?", service["image"]), name
            assert service["user"] if service["image"] != "memcached:1.6" else True, name
            assert {*service["networks"]} == {"back"}, name
    ports = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    ((name, port),) = ports
    assert name == ("proxy" if "proxy" in services else "web")
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", "8080")


@each()
def test_start_waits_for_what_is_needed(services: Services) -> None:
    """Nothing of the application starts before its servers are healthy and the database is up to date."""
    needs = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    servers = dict.fromkeys({"cache", "broker"} & services.keys(), "service_healthy")
    migrated = dict.fromkeys({"migrate"} & services.keys(), "service_completed_successfully")
    for name in {"web", "worker", "scheduler"} & services.keys():
        assert needs[name] == servers | migrated
    if "migrate" in services:
        assert needs["migrate"] == dict.fromkeys({"database"} & services.keys(), "service_healthy")
    if "proxy" in services:
        assert needs["proxy"] == {"web": "service_healthy"}


@each()
def test_stops_nest(row: Row, project: Path, services: Services) -> None:
    """Who is asked stops before who asks: application server < proxy's patience < proxy < their containers."""
    (config,) = project.glob("src/*/config.py")
    text = config.read_text(encoding="utf-8")

    def default(name: str) -> float:
        found = re.search(rf"{name}: \w+ = ([\d.]+)", text)
        assert found, name
        return float(found[1])

    stops = {name: seconds(service["stop_grace_period"]) for name, service in services.items()}
    assert default("WEB_TIMEOUT") < stops["web"]
    if row.options["reverse_proxy"] == "nginx":
        (gateway,) = (path for name in ("proxy", "uwsgi") if (path := project / f"deploy/nginx/{name}.conf").exists())
        waits = re.search(r"_read_timeout (\d+)s", gateway.read_text(encoding="utf-8"))
        ends = re.search(r"worker_shutdown_timeout (\d+)s", (project / "deploy/nginx/nginx.conf").read_text())
    elif row.options["reverse_proxy"] == "apache":
        waits = re.search(r"ProxyTimeout (\d+)", (project / "deploy/apache/application.conf").read_text())
        ends = re.search(r"GracefulShutdownTimeout (\d+)", (project / "deploy/apache/httpd.conf").read_text())
    else:
        waits = ends = None
    if waits and ends:
        assert default("WEB_TIMEOUT") < float(waits[1]) < float(ends[1]) < stops["proxy"]
    assert ("proxy" in stops) == bool(waits and ends)
    if "worker" in stops:
        assert default("JOB_TIME_LIMIT") + 5 < stops["worker"]


@each()
def test_secrets_are_demanded(project: Path, services: Services, read: Callable[..., object]) -> None:
    """Each is made by the hook, is used, and is asked for by name where it is missing."""
    secrets = secrets_of(project)
    assert len({*secrets.values()}) == len(secrets)
    text = (project / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == secrets.keys()
    assert not [name for name, more in re.findall(r"\$\{(\w+)([^}]*)\}", text) if name in asked and more[:2] != ":?"]
    empty = project.parent / "empty.env"
    empty.write_text("")
    for name in asked:
        others = {other: value for other, value in secrets.items() if other != name}
        told = read(project, "--env-file", str(empty), **others)
        assert isinstance(told, str), name
        assert name in told
        assert not any(value in told for value in secrets.values())
    for name in {"web", "worker", "scheduler", "migrate"} & services.keys():
        assert services[name]["environment"]["FLASK_DEBUG"] == "0", name
    # `.env` has them all; who does not use one is not told it.
    for name, service in services.items():
        known = service.get("environment", {})
        for told in secrets.keys() & known.keys() - {"SECRET_KEY"}:
            used = any(secrets[told] in known[other] for other in known.keys() - {told})
            assert used or not known[told], (name, told)


@each()
def test_numbers_are_asked_for(project: Path, read: Callable[..., object]) -> None:
    """There may be more of web and worker; of the rest there is one, whatever is asked."""
    whole = read(project, WEB_REPLICAS="2", WORKER_REPLICAS="3")
    assert isinstance(whole, dict), whole
    found = {name: service["deploy"].get("replicas", 1) for name, service in whole["services"].items()}
    assert found == dict.fromkeys(found, 1) | {"web": 2} | dict.fromkeys({"worker"} & found.keys(), 3)


@each()
def test_development_is_an_addition(row: Row, project: Path, read: Callable[..., object]) -> None:
    """It reloads the code of this folder, opens the servers' ports on loopback, and catches mail."""
    whole = read(project, "--file", "compose.yaml", "--file", "compose.dev.yaml")
    assert isinstance(whole, dict), whole
    services: Services = whole["services"]
    mails = bool(row.options["example_app"]) and "none" not in (row.options["task_queue"], row.options["database"])
    expected = expected_services(row.options) - {"proxy"} | ({"mail"} if mails else set())
    assert services.keys() == expected
    assert "--debug" in services["web"]["command"]
    for name in {"web", "worker", "scheduler"} & services.keys():
        assert services[name]["environment"]["FLASK_DEBUG"] == "1"
        assert any(mount["target"] == "/app/src" and mount["read_only"] for mount in services[name]["volumes"]), name
    ports = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services.items()}
    opened = {"web", *({"database", "cache", "broker", "mail"} & services.keys())}
    assert {name: found for name, found in ports.items() if found} == {name: ["127.0.0.1"] for name in opened}


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine that lives as long as the tests."""
    if os.geteuid() != 0:
        pytest.skip("containers were NOT proved: that takes root: sudo make test ARGS=tests/test_containers.py")
    assert request.config.cache
    with private_engine(Path(request.config.cache.mkdir("containers"))) as engine:
        yield engine


@pytest.fixture
def boxed(engine: Engine, workspace: Path) -> Project:
    """The project of a row, with its images."""
    compose_program()
    boxed = Project(engine, workspace)
    boxed.build()
    return boxed


@pytest.mark.xdist_group("containers")
@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in RUN])
def test_containers_run(row: Row, boxed: Project) -> None:
    """Up in the right order; a request, a job, a restart, more containers; down in time, and no secret told."""
    check_image(row, boxed)
    with boxed.running():
        assert {name for name in boxed.services if boxed.containers(name)} == expected_services(row.options)
        check_site(row, boxed)
        check_health(boxed)
        check_restart(boxed)
        if row == DEFAULT:
            check_scale(boxed)
            check_development(boxed)
        check_stop(boxed)
        told = boxed.logs()
        assert not [name for name, value in secrets_of(boxed.folder).items() if value in told]


def check_image(row: Row, boxed: Project) -> None:
    """Only what runs, compiled, owned by nobody who runs it; it starts as anybody, and soon."""
    engine, image = boxed.engine, boxed.images["web"]
    found = engine.podman(
        "run", "--rm", "--user=0", "--network=none", image, "find", "/", "-xdev", "-printf", "%M %p\\n"
    )
    files = {path: mode for mode, path in (line.split(" ", 1) for line in found.splitlines())}
    forbidden = re.compile(
        r"/s?bin/(gcc|cc|c\+\+|ld|as|make|uv|uvx)$|^/app/(tests|README|\.env|\.git|uv\.lock|compose)|/\.cache/|/\.git(/|$)|/\.env$"
    )
    assert not [path for path in files if forbidden.search(path)]
    tops = {path.split("/")[2] for path in files if path.startswith("/app/") and path.count("/") == 2}
    wanted = {".venv", "deploy", "public", "pyproject.toml", "src"}
    assert tops == wanted | ({"migrations"} if row.options["database"] != "none" else set())
    assert all(mode[7] == "r" for path, mode in files.items() if path.startswith("/app/"))
    modules = [path for path in files if path.startswith("/app/") and path.endswith(".py")]
    cached = [path for path in files if path.endswith(".pyc")]
    compiled = {re.sub(r"/__pycache__/(\w+)\.cpython-\d+\.pyc$", r"/\1.py", path) for path in cached}
    (package,) = (path.name for path in boxed.folder.glob("src/*"))
    written = [path for path in modules if f"/src/{package}/" in path or "/site-packages/flask/" in path]
    lazily = {"build.py"}
    assert len(written) > 20
    assert not [path for path in written if path not in compiled and path.rpartition("/")[2] not in lazily]
    base = re.findall(r"(?m)^FROM (\S+) AS web$", (boxed.folder / "Dockerfile").read_text(encoding="utf-8"))[0]
    whole = engine.size(image)
    own = whole - engine.size(f"docker.io/library/{base}")
    assert own < 120 * MEGABYTE
    labels = json.loads(engine.podman("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels.keys() >= {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision")}

    settings = {
        "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": {"postgresql": "postgresql", "mysql": "mysql"}.get(str(row.options["database"]), "sqlite")
        + ("://a:b@127.0.0.1:1/app" if row.options["database"] in ("postgresql", "mysql") else "://"),
        "CACHE_URL": "memory://",
        "BROKER_URL": "inline://",
        "RESULT_URL": "inline://",
        "SMTP_URL": "log:",
        "MAIL_FROM": "service@example.com",
    }
    hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=123456:0"]
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    began = time.monotonic()
    container = engine.podman("run", "--detach", "--network=none", *hardened, *variables, image)
    try:
        health = json.loads(engine.podman("image", "inspect", "--format", "{{json .HealthCheck.Test}}", image))
        wait_until(lambda: engine.try_podman("exec", container, *health[1:]).returncode == 0)
        took = time.monotonic() - began
        print(f"{row.id}: {whole / MEGABYTE:.0f} MB, {own / MEGABYTE:.0f} of its own; it answers after {took:.1f} s")
        assert took < PATIENCE / 3
        assert engine.try_podman("exec", container, "touch", "/app/x").returncode
    except BaseException:
        print(boxed.log(container))
        raise
    finally:
        engine.podman("rm", "--force", "--time=40", container)


def check_site(row: Row, boxed: Project) -> None:
    """Pages, a static file, the API, and a job that a worker does."""
    site = boxed.site
    ready = fetch(f"{site}/health/ready")
    assert json.loads(ready.text)["status"] == "ok"
    page = fetch(f"{site}/" if row.options["web_pages"] else f"{site}/docs", Accept="text/html")
    assert page.status == 200
    (style,) = re.findall(r'href="(/[^"]*\.css)"', page.text)[:1]
    kept = fetch(f"{site}{style}")
    assert kept.status == 200
    assert "immutable" in kept.headers["Cache-Control"]
    assert fetch(site, Host="elsewhere.example").status in (400, 421)
    if row.options["example_app"] and row.options["database"] != "none":
        boxed.compose("exec", "-T", "web", "flask", "seed")
        products = json.loads(fetch(f"{site}/api/v1/products?limit=7").text)
        assert len(products["items"]) == 7
        if row.options["task_queue"] != "none":
            check_job(boxed)


def check_job(boxed: Project) -> None:
    """A worker in another container exports what a web server took."""
    accepted = fetch(f"{boxed.site}/api/v1/products/exports", method="POST")
    assert accepted.status == 202, accepted
    job = f"{boxed.site}{accepted.headers['Location']}"
    wait_until(lambda: json.loads(fetch(job).text)["state"] == "succeeded")
    address = json.loads(fetch(job).text)["result"]["address"]
    assert fetch(f"{boxed.site}{address}").text.startswith("sku,")


def check_health(boxed: Project) -> None:
    """What says that a container is healthy says no where nothing runs."""

    def says_no(name: str) -> bool:
        (container,) = boxed.containers(name)
        words, variables, image = boxed.health(container)
        options = ["--rm", "--network=none", *(f"--env={variable}" for variable in variables)]
        entrypoint = f"--entrypoint={json.dumps(words)}"
        return boxed.engine.try_podman("run", *options, entrypoint, image).returncode != 0

    names = sorted(boxed.services.keys() - {"migrate"})
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(says_no, names), strict=True))
    assert found == dict.fromkeys(names, True)


def check_restart(boxed: Project) -> None:
    """A service that is restarted, or killed, comes back with its data, and the rest goes on."""
    before = fetch(f"{boxed.site}/docs").status
    for name in sorted({"database", "broker", "cache", "web"} & boxed.services.keys()):
        boxed.compose("restart", "--timeout", "20", name)
    wait_until(lambda: answers(f"{boxed.site}/health/ready") == 200)
    assert fetch(f"{boxed.site}/docs").status == before == 200


def answers(address: str) -> int:
    """The status of an answer; 0 where there is none."""
    try:
        return fetch(address, within=5).status
    except (OSError, http.client.HTTPException):
        return 0


def check_scale(boxed: Project) -> None:
    """Requests reach each of two web servers, three workers are healthy, the scheduler is one, and the same."""
    before = boxed.containers("scheduler"), boxed.state(*boxed.containers("scheduler"))["StartedAt"]
    boxed.compose("up", "--detach", "--no-build", "--wait", "--scale", "web=2", "--scale", "worker=3")
    numbers = {name: len(boxed.containers(name)) for name in ("web", "worker", "scheduler")}
    assert numbers == {"web": 2, "worker": 3, "scheduler": 1}
    assert before == (boxed.containers("scheduler"), boxed.state(*boxed.containers("scheduler"))["StartedAt"])

    def all_were_asked() -> bool:
        assert answers(f"{boxed.site}/nowhere") == 404
        return all('"/nowhere"' in boxed.log(name) for name in boxed.containers("web"))

    wait_until(all_were_asked)
    assert boxed.engine.podman("ps", "--filter", "health=unhealthy", "--quiet") == ""
    check_job(boxed)


def check_development(boxed: Project) -> None:
    """A changed file is served without a build."""
    boxed.compose("rm", "--force", "--stop", "proxy")
    files = ("compose.yaml", "compose.dev.yaml")
    boxed.compose("up", "--detach", "--no-build", "--no-deps", "web", files=files)
    wait_until(lambda: answers(f"{boxed.site}/health/live") == 200)
    (module,) = boxed.folder.glob("src/*/pages/__init__.py")
    view = '\n\n@blueprint.get("/changed")\ndef changed() -> str:\n    return "changed"\n'
    module.write_text(module.read_text(encoding="utf-8") + view, encoding="utf-8")
    wait_until(lambda: answers(f"{boxed.site}/changed") == 200)
    assert len(boxed.containers("web")) == 1


def check_stop(boxed: Project) -> None:
    """Told to end, each ends by itself within its time."""
    began = time.monotonic()
    boxed.compose("stop")
    assert time.monotonic() - began < PATIENCE
    for container in boxed.containers():
        assert boxed.state(container)["ExitCode"] in (0, 143), (container, boxed.log(container))
