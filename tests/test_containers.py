"""Images and services: the configuration of all combinations, and the behavior of running containers for some."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import combinations
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from tests.conftest import Run
from tests.containers import Engine, Project, compose_program
from tests.deployed_project import AUTHORIZATION
from tests.matrix import DEFAULT, MONITORED, TOKEN_COMBINATIONS, Combination, Value, parametrize_combinations
from tests.services import TIMEOUT, descendants, fetch, wait_until

Services = dict[str, dict[str, Any]]

# Options that change the containers.
RELEVANT_OPTIONS = ("database", "cache", "task_queue", "wsgi_server", "reverse_proxy")
MEGABYTE = 1_000_000


def most_different(number: int) -> list[Combination]:
    """Return the default combination, and those that together cover most values, server pairs and examples."""

    def coverage(others: tuple[Combination, ...]) -> tuple[int, ...]:
        chosen = [combination.options for combination in (DEFAULT, *others)]
        values = {(part, options[part]) for options in chosen for part in RELEVANT_OPTIONS}
        pairs = {(options["wsgi_server"], options["reverse_proxy"]) for options in chosen}
        return len(values), len(pairs), sum(bool(options["example_app"]) for options in chosen)

    return [DEFAULT, *max(combinations(TOKEN_COMBINATIONS[1:], number - 1), key=coverage)]


RUN_COMBINATIONS = most_different(4)


def expected_services(options: dict[str, Value]) -> set[str]:
    """Return the services that the answers require."""
    required = {
        "web": True,
        "proxy": options["reverse_proxy"] != "none",
        "migrate": options["database"] != "none",
        "database": options["database"] not in ("sqlite", "none"),
        "cache": options["cache"] in ("redis", "memcached"),
        **dict.fromkeys(("worker", "scheduler", "broker"), options["task_queue"] != "none"),
    }
    return {name for name, is_required in required.items() if is_required}


def seconds(text: str) -> float:
    """Return a duration in Compose's notation in seconds."""
    return sum(
        float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text)
    )


def secrets_of(project: Path) -> dict[str, str]:
    """Return the secrets that the hook has generated for containers."""
    lines = (project / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]*(PASSWORD|SECRET_KEY)=", line))


@pytest.fixture
def read(clean_env: dict[str, str]) -> Callable[..., object]:
    """Return a function that returns the resolved Compose configuration of a project, or the error message."""

    def read(project: Path, *words: str, **variables: str) -> object:
        command: list[str | Path] = [compose_program(), *words, "config", "--format", "json"]
        result = subprocess.run(
            command,
            check=False,
            cwd=project,
            env={**clean_env, **variables},
            capture_output=True,
            text=True,
        )
        return json.loads(result.stdout) if result.returncode == 0 else result.stderr

    return read


@pytest.fixture
def services(project: Path, read: Callable[..., object]) -> Services:
    """Return the services of a combination."""
    config = read(project)
    assert isinstance(config, dict), config
    found: Services = config["services"]
    return found


@parametrize_combinations()
def test_only_chosen_services_exist(
    combination: Combination, project: Path, services: Services, read: Callable[..., object]
) -> None:
    """The services are those of the chosen values, and every declared network and volume is used."""
    assert services.keys() == expected_services(combination.options)
    complete = read(project, "--profile", "monitoring")
    assert isinstance(complete, dict), complete
    services = complete["services"]
    # Compose's own output omits unused volumes and networks.
    config = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
    used = {mount["source"] for mount in mounts if mount["type"] == "volume"}
    assert used == {*config.get("volumes", {})}
    assert {name for service in services.values() for name in service["networks"]} == {*config["networks"]}


@parametrize_combinations()
def test_checkers_find_nothing(project: Path, venv_bin: Path, run: Run) -> None:
    """The Compose files match their schema, and hadolint finds no issue."""
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml", "compose.dev.yaml"],
        ["hadolint", "--failure-threshold", "style", "Dockerfile"],
    ):
        result = run(venv_bin / command[0], *command[1:], cwd=project)
        assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations()
def test_services_are_contained(project: Path, services: Services) -> None:
    """Services have resource limits, health checks, log rotation and no privileges; one loopback port is published."""
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"] == {"max-file": "3", "max-size": "10m"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        writes_configuration = service["image"].partition(":")[0] in ("rabbitmq", "cassandra")
        assert service.get("read_only", False) is not writes_configuration, name
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


@parametrize_combinations(MONITORED)
def test_monitoring_is_contained(combination: Combination, project: Path, read: Callable[..., object]) -> None:
    """The profile has limits, no privileges and ports on loopback only, and an exporter for each server."""
    config = read(project, "--profile", "monitoring")
    assert isinstance(config, dict), config
    services: Services = {
        name: service for name, service in config["services"].items() if service.get("profiles") == ["monitoring"]
    }
    for name, service in services.items():
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory", "pids"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name
    options = combination.options
    exporters = {
        "database-exporter": options["database"] in ("postgresql", "mysql"),
        "cache-exporter": options["cache"] in ("redis", "memcached"),
        "broker-exporter": options["task_queue"] in ("celery-redis", "rq-redis"),
        "proxy-exporter": options["reverse_proxy"] in ("nginx", "apache"),
    }
    always = {"prometheus", "alertmanager", "grafana", "blackbox-exporter", "node-exporter"}
    assert services.keys() == always | {name for name, is_expected in exporters.items() if is_expected}


@parametrize_combinations()
def test_services_start_in_order(services: Services) -> None:
    """The application starts when its servers are healthy and the database is migrated."""
    conditions = {
        name: {dependency: value["condition"] for dependency, value in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    servers = dict.fromkeys({"cache", "broker"} & services.keys(), "service_healthy")
    migrated = dict.fromkeys({"migrate"} & services.keys(), "service_completed_successfully")
    for name in {"web", "worker", "scheduler"} & services.keys():
        assert conditions[name] == servers | migrated
    if "migrate" in services:
        assert conditions["migrate"] == dict.fromkeys({"database"} & services.keys(), "service_healthy")
    if "proxy" in services:
        assert conditions["proxy"] == {"web": "service_healthy"}


@parametrize_combinations()
def test_stop_timeouts_are_nested(combination: Combination, project: Path, services: Services) -> None:
    """Timeouts increase: application server, the proxy's response timeout, its shutdown timeout, the containers."""
    (config,) = project.glob("src/*/config.py")
    text = config.read_text(encoding="utf-8")

    def default(name: str) -> float:
        found = re.search(rf"{name}: \w+ = ([\d.]+)", text)
        assert found, name
        return float(found[1])

    stop_timeouts = {name: seconds(service["stop_grace_period"]) for name, service in services.items()}
    assert default("WEB_TIMEOUT") < stop_timeouts["web"]
    if combination.options["reverse_proxy"] == "nginx":
        (gateway,) = (path for name in ("proxy", "uwsgi") if (path := project / f"deploy/nginx/{name}.conf").exists())
        response_timeout = re.search(r"_read_timeout (\d+)s", gateway.read_text(encoding="utf-8"))
        shutdown_timeout = re.search(
            r"worker_shutdown_timeout (\d+)s", (project / "deploy/nginx/nginx.conf").read_text()
        )
    elif combination.options["reverse_proxy"] == "apache":
        response_timeout = re.search(r"ProxyTimeout (\d+)", (project / "deploy/apache/application.conf").read_text())
        shutdown_timeout = re.search(
            r"GracefulShutdownTimeout (\d+)", (project / "deploy/apache/httpd.conf").read_text()
        )
    else:
        response_timeout = shutdown_timeout = None
    if response_timeout and shutdown_timeout:
        assert default("WEB_TIMEOUT") < float(response_timeout[1]) < float(shutdown_timeout[1]) < stop_timeouts["proxy"]
    assert ("proxy" in stop_timeouts) == bool(response_timeout and shutdown_timeout)
    if "worker" in stop_timeouts:
        assert default("JOB_TIME_LIMIT") + 5 < stop_timeouts["worker"]


@parametrize_combinations()
def test_secrets_are_required(project: Path, services: Services, read: Callable[..., object]) -> None:
    """The hook generates every secret, and Compose names a missing one."""
    secrets = secrets_of(project)
    assert len({*secrets.values()}) == len(secrets)
    text = (project / "compose.yaml").read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == secrets.keys()
    assert not [name for name, rest in re.findall(r"\$\{(\w+)([^}]*)\}", text) if name in required and rest[:2] != ":?"]
    empty = project.parent / "empty.env"
    empty.write_text("")
    for name in required:
        others = {other: value for other, value in secrets.items() if other != name}
        output = read(project, "--env-file", str(empty), **others)
        assert isinstance(output, str), name
        assert name in output
        assert not any(value in output for value in secrets.values())
    for name in {"web", "worker", "scheduler", "migrate"} & services.keys():
        assert services[name]["environment"]["FLASK_DEBUG"] == "0", name
    # `.env` contains all secrets; a service gets only those that it uses.
    for name, service in services.items():
        variables = service.get("environment", {})
        for secret in secrets.keys() & variables.keys() - {"SECRET_KEY"}:
            used = any(secrets[secret] in variables[other] for other in variables.keys() - {secret})
            assert used or not variables[secret], (name, secret)


@parametrize_combinations()
def test_replicas_are_configurable(project: Path, read: Callable[..., object]) -> None:
    """The numbers of web and worker containers are configurable; all others have one."""
    config = read(project, WEB_REPLICAS="2", WORKER_REPLICAS="3")
    assert isinstance(config, dict), config
    found = {name: service["deploy"].get("replicas", 1) for name, service in config["services"].items()}
    assert found == dict.fromkeys(found, 1) | {"web": 2} | dict.fromkeys({"worker"} & found.keys(), 3)


@parametrize_combinations()
def test_development_override_is_complete(combination: Combination, project: Path, read: Callable[..., object]) -> None:
    """The override reloads the code of the folder, publishes the servers' ports on loopback, and catches mail."""
    config = read(project, "--file", "compose.yaml", "--file", "compose.dev.yaml")
    assert isinstance(config, dict), config
    services: Services = config["services"]
    has_catalog_jobs = bool(combination.options["example_app"]) and "none" not in (
        combination.options["task_queue"],
        combination.options["database"],
    )
    sends_mail = has_catalog_jobs or combination.options["auth"] == "accounts"
    expected = expected_services(combination.options) - {"proxy"} | ({"mail"} if sends_mail else set())
    assert services.keys() == expected
    assert "--debug" in services["web"]["command"]
    for name in {"web", "worker", "scheduler"} & services.keys():
        assert services[name]["environment"]["FLASK_DEBUG"] == "1"
        # The settings reject debug mode on a public address; the address of `flask run` is in its command.
        addresses = [value for key, value in services[name]["environment"].items() if key.endswith("BIND")]
        assert addresses, name
        assert all(address.startswith("127.0.0.1:") for address in addresses), name
        assert any(mount["target"] == "/app/src" and mount["read_only"] for mount in services[name]["volumes"]), name
    ports = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services.items()}
    published = {"web", *({"database", "cache", "broker", "mail"} & services.keys())}
    assert {name: found for name, found in ports.items() if found} == {name: ["127.0.0.1"] for name in published}


@pytest.fixture
def compose_project(engine: Engine, workspace: Path) -> Project:
    """Build the images of a combination's project."""
    compose_program()
    compose_project = Project(engine, workspace)
    compose_project.build()
    return compose_project


@parametrize_combinations(RUN_COMBINATIONS, "containers")
def test_containers_run(combination: Combination, compose_project: Project) -> None:
    """Services start in order, handle requests and jobs, restart, scale and stop in time; no secret is logged."""
    check_image(combination, compose_project)
    with compose_project.running():
        assert {name for name in compose_project.services if compose_project.containers(name)} == expected_services(
            combination.options
        )
        headers = authorization(combination, compose_project)
        check_site(combination, compose_project, headers)
        check_health(compose_project)
        check_memory(compose_project)
        check_restart(compose_project)
        check_supervision(compose_project)
        if combination == DEFAULT:
            check_scale(compose_project, headers)
            check_development(compose_project)
        check_stop(compose_project)
        output = compose_project.logs()
        assert not [name for name, value in secrets_of(compose_project.folder).items() if value in output]


def check_image(combination: Combination, compose_project: Project) -> None:
    """Check that the image is minimal, compiled and read-only, and that it starts quickly as any user."""
    engine, image = compose_project.engine, compose_project.images["web"]
    found = engine.podman(
        "run", "--rm", "--user=0", "--network=none", image, "find", "/", "-xdev", "-printf", "%M %p\\n"
    )
    files = {path: mode for mode, path in (line.split(" ", 1) for line in found.splitlines())}
    forbidden = re.compile(
        r"/s?bin/(gcc|cc|c\+\+|ld|as|make|uv|uvx)$|^/app/(tests|README|\.env|\.git|uv\.lock|compose)|/\.cache/|/\.git(/|$)|/\.env$"
    )
    assert not [path for path in files if forbidden.search(path)]
    top_level = {path.split("/")[2] for path in files if path.startswith("/app/") and path.count("/") == 2}
    required = {".venv", "deploy", "public", "pyproject.toml", "src"}
    assert top_level == required | ({"migrations"} if combination.options["database"] != "none" else set())
    assert all(mode[7] == "r" for path, mode in files.items() if path.startswith("/app/"))
    modules = [path for path in files if path.startswith("/app/") and path.endswith(".py")]
    cached = [path for path in files if path.endswith(".pyc")]
    compiled = {re.sub(r"/__pycache__/(\w+)\.cpython-\d+\.pyc$", r"/\1.py", path) for path in cached}
    (package,) = (path.name for path in compose_project.folder.glob("src/*"))
    expected = [path for path in modules if f"/src/{package}/" in path or "/site-packages/flask/" in path]
    assert len(expected) > 20
    assert not [path for path in expected if path not in compiled]
    base = re.findall(r"(?m)^FROM (\S+) AS web$", (compose_project.folder / "Dockerfile").read_text(encoding="utf-8"))[
        0
    ]
    total = engine.size(image)
    added = total - engine.size(f"docker.io/library/{base}")
    # Before debug symbols were removed, the largest image had 167 MB: SQLAlchemy (27), zstandard (24), botocore (23),
    # cryptography (15), gevent and its dependencies (13), and prompt-toolkit with wcwidth (9), which Celery requires.
    assert added < 175 * MEGABYTE
    labels = json.loads(engine.podman("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels.keys() >= {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision")}

    settings = {
        "SECRET_KEY": "8f2c1b7e9d3a4f6085c1e2d7b9a0f3c4",
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": {"postgresql": "postgresql", "mysql": "mysql"}.get(
            str(combination.options["database"]), "sqlite"
        )
        + ("://a:b@127.0.0.1:1/app" if combination.options["database"] in ("postgresql", "mysql") else "://"),
        "CACHE_URL": "memory://",
        "BROKER_URL": "inline://",
        "RESULT_URL": "inline://",
        "JWT_ISSUER": "https://issuer.example.com",
        "JWT_AUDIENCE": "service",
        "JWT_JWKS_URL": "https://issuer.example.com/jwks.json",
        "OIDC_ISSUER": "https://issuer.example.com",
        "OIDC_CLIENT_ID": "service",
        "SMTP_URL": "log:",
        "MAIL_DEFAULT_SENDER": "service@example.com",
    }
    hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=123456:0"]
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    began = time.monotonic()
    container = engine.podman("run", "--detach", "--network=none", *hardened, *variables, image)
    try:
        health = json.loads(engine.podman("image", "inspect", "--format", "{{json .HealthCheck.Test}}", image))
        wait_until(lambda: engine.try_podman("exec", container, *health[1:]).returncode == 0)
        took = time.monotonic() - began
        print(
            f"{combination.id}: {total / MEGABYTE:.0f} MB, {added / MEGABYTE:.0f} of its own; ready after {took:.1f} s"
        )
        assert took < TIMEOUT / 3
        assert engine.try_podman("exec", container, "touch", "/app/x").returncode
    except BaseException:
        print(compose_project.log(container))
        raise
    finally:
        engine.podman("rm", "--force", "--time=40", container)


def check_site(combination: Combination, compose_project: Project, headers: dict[str, Any]) -> None:
    """Check a page, a static file, the API, and a job in a worker."""
    site = compose_project.site
    ready = fetch(f"{site}/health/ready")
    assert json.loads(ready.text)["status"] == "ok"
    page = fetch(f"{site}/" if combination.options["web_pages"] else f"{site}/docs", Accept="text/html")
    assert page.status == 200
    (style,) = re.findall(r'href="(/[^"]*\.css)"', page.text)[:1]
    stylesheet = fetch(f"{site}{style}")
    assert stylesheet.status == 200
    assert "immutable" in stylesheet.headers["Cache-Control"]
    assert fetch(site, Host="elsewhere.example").status in (400, 421)
    if combination.options["example_app"] and combination.options["database"] != "none":
        compose_project.compose("exec", "-T", "web", "flask", "seed")
        products = json.loads(fetch(f"{site}/api/v1/products?limit=7").text)
        assert len(products["items"]) == 7
        if combination.options["task_queue"] != "none":
            check_job(compose_project, headers)


def authorization(combination: Combination, compose_project: Project) -> dict[str, Any]:
    """Return a header with a token that may import; with accounts it is of a new user."""
    if combination.options["auth"] != "accounts":
        return AUTHORIZATION
    users = ("exec", "-T", "web", "flask", "users")
    compose_project.compose(*users, "create", "ada@example.com", "--role", "importer")
    output = compose_project.compose(*users, "create-token", "ada@example.com")
    return {"Authorization": f"Bearer {output.split()[-1]}"}


def check_job(compose_project: Project, headers: dict[str, Any]) -> None:
    """Check that a worker in another container imports a file that a web server has stored."""
    body = b"sku,name,price_cents,category_id,stock\nKITE-1,Red kite,1250,1,7\n"
    kind: dict[str, Any] = {"Content-Type": "text/csv", **headers}
    url = f"{compose_project.site}/api/v1/products/imports"
    responses = []

    def is_accepted() -> bool:
        responses.append(fetch(url, method="POST", body=body, **kind))
        return responses[-1].status != 503

    # While workers start, a broker on a busy machine may not respond within BROKER_TIMEOUT.
    wait_until(is_accepted)
    accepted = responses[-1]
    assert accepted.status == 202, accepted
    job = f"{compose_project.site}{accepted.headers['Location']}"
    wait_until(lambda: json.loads(fetch(job, **headers).text)["state"] == "succeeded")
    assert json.loads(fetch(job, **headers).text)["result"]["products"] == 1


def check_health(compose_project: Project) -> None:
    """Check that the health checks fail where the service does not run."""

    def check_fails(name: str) -> bool:
        (container,) = compose_project.containers(name)
        words, variables, image = compose_project.health(container)
        options = ["--rm", "--network=none", *(f"--env={variable}" for variable in variables)]
        entrypoint = f"--entrypoint={json.dumps(words)}"
        return compose_project.engine.try_podman("run", *options, entrypoint, image).returncode != 0

    names = sorted(compose_project.services.keys() - {"migrate"})
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(check_fails, names), strict=True))
    assert found == dict.fromkeys(names, True)


def check_memory(compose_project: Project) -> None:
    """Check that slow clients, whose bodies together exceed the memory limit, cause no out-of-memory kill."""
    before = compose_project.killed()
    assert before.keys() == {*compose_project.containers()}
    proxied = "proxy" in compose_project.services
    size, clients = int(0.9 * MEGABYTE), 700 if proxied else 100
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {size + 1}\r\n\r\n"
    body = b"not,a,header\n" * (size // 13 + 1)

    def send(_: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", compose_project.port), TIMEOUT)
        client.settimeout(2)  # a server without a proxy reads as many bodies as it has threads
        with suppress(OSError):
            client.sendall(head.encode() + body[:size])
        return client

    with ThreadPoolExecutor(100) as pool, ExitStack() as stack:
        for client in pool.map(send, range(clients)):
            stack.enter_context(client)
        assert compose_project.killed() == before
        assert status_of(f"{compose_project.site}/health/live") == 200 or not proxied
        # nginx limits the number of concurrent bodies; Apache cannot.
        if (compose_project.folder / "deploy" / "apache").exists():
            check_uploads_on_a_full_disk(compose_project, head.encode() + body[: size + 1])
    assert compose_project.killed() == before


def check_uploads_on_a_full_disk(compose_project: Project, request: bytes) -> None:
    """Check that an upload is rejected when the proxy's disk is full, and that all other requests succeed."""
    done = Event()

    def upload(_: int) -> bytes:
        with suppress(OSError), socket.create_connection(("127.0.0.1", compose_project.port), TIMEOUT) as client:
            client.settimeout(TIMEOUT)
            client.sendall(request)
            return client.recv(12)[9:]
        return b""

    def probe() -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not done.is_set():
            statuses[status_of(f"{compose_project.site}/health/live")] += 1
        return statuses

    with ThreadPoolExecutor(20) as pool:
        probes = [pool.submit(probe) for _ in range(4)]
        try:
            uploads = Counter(pool.map(upload, range(1000)))
        finally:
            done.set()
        found = sum((future.result() for future in probes), Counter[int]())
    print(f"uploads: {uploads}, probes: {found}")
    assert uploads[b"500"] > 100
    assert found.keys() == {200}


def check_restart(compose_project: Project) -> None:
    """Check that restarted services have their data and the site recovers."""
    before = fetch(f"{compose_project.site}/docs").status
    for name in sorted({"database", "broker", "cache", "web"} & compose_project.services.keys()):
        compose_project.compose("restart", "--timeout", "20", name)
    wait_until(lambda: status_of(f"{compose_project.site}/health/ready") == 200)
    assert fetch(f"{compose_project.site}/docs").status == before == 200


def check_supervision(compose_project: Project) -> None:
    """Kill the web container's main process twice, then its workers: at most 10 requests fail.

    A client that gets no response waits as long as `Retry-After` says, or 5 s.
    """
    (web,) = compose_project.containers("web")
    statuses: Counter[int] = Counter()
    kills: list[float] = []
    done = Event()

    def request_pages() -> None:
        while not done.is_set():
            status = status_of(f"{compose_project.site}/docs")
            statuses[status] += 1
            # Slower than the proxy's rate limit per client.
            done.wait(0.02 if status == 200 else 5)

    def kill(*processes: int) -> None:
        """Kill processes, and wait until clients get pages again."""
        for process in processes:
            os.kill(process, signal.SIGKILL)
        killed = time.monotonic()
        time.sleep(0.5)
        wait_until(lambda: status_of(f"{compose_project.site}/health/live") == 200)
        kills.append(time.monotonic() - killed)
        seen = statuses[200]
        wait_until(lambda: statuses[200] > seen + 100)

    def main_process() -> int:
        # The parent process is the container's init process.
        return descendants(compose_project.state(web)["Pid"])[0]

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(request_pages) for _ in range(2)]
        try:
            for _ in range(2):
                started = compose_project.state(web)["StartedAt"]
                kill(main_process())
                assert compose_project.state(web)["StartedAt"] != started
            kill(*descendants(main_process()))
            wait_until(lambda: sum(statuses.values()) >= 1000, timeout=180)
        finally:
            done.set()
        for client in clients:
            client.result()
    print(f"{statuses}, responses after {', '.join(f'{seconds:.1f}' for seconds in kills)} s")
    assert sum(statuses.values()) - statuses[200] <= 10


def status_of(url: str) -> int:
    """Return the status of a response, or 0 without one."""
    try:
        return fetch(url, timeout=5).status
    except (OSError, http.client.HTTPException):
        return 0


def check_scale(compose_project: Project, headers: dict[str, Any]) -> None:
    """Check that both web servers get requests, three workers are healthy, and the scheduler is not replaced."""
    before = (
        compose_project.containers("scheduler"),
        compose_project.state(*compose_project.containers("scheduler"))["StartedAt"],
    )
    compose_project.compose("up", "--detach", "--no-build", "--wait", "--scale", "web=2", "--scale", "worker=3")
    counts = {name: len(compose_project.containers(name)) for name in ("web", "worker", "scheduler")}
    assert counts == {"web": 2, "worker": 3, "scheduler": 1}
    assert before == (
        compose_project.containers("scheduler"),
        compose_project.state(*compose_project.containers("scheduler"))["StartedAt"],
    )

    def all_got_requests() -> bool:
        assert status_of(f"{compose_project.site}/nowhere") == 404
        return all('"/nowhere"' in compose_project.log(name) for name in compose_project.containers("web"))

    wait_until(all_got_requests)
    assert compose_project.engine.podman("ps", "--filter", "health=unhealthy", "--quiet") == ""
    check_job(compose_project, headers)


def check_development(compose_project: Project) -> None:
    """Check that a changed file is served without a rebuild."""
    compose_project.compose("rm", "--force", "--stop", "proxy")
    files = ("compose.yaml", "compose.dev.yaml")
    compose_project.compose("up", "--detach", "--no-build", "--no-deps", "web", files=files)
    wait_until(lambda: status_of(f"{compose_project.site}/health/live") == 200)
    (module,) = compose_project.folder.glob("src/*/web/__init__.py")
    view = '\n\n@blueprint.get("/changed")\ndef changed() -> str:\n    return "changed"\n'
    # Everybody may call it.
    view += '\n\nvars(changed)["access_rule"] = None\n'
    module.write_text(module.read_text(encoding="utf-8") + view, encoding="utf-8")
    wait_until(lambda: status_of(f"{compose_project.site}/changed") == 200)
    assert len(compose_project.containers("web")) == 1


def check_stop(compose_project: Project) -> None:
    """Check that all containers stop within their timeout after SIGTERM."""
    began = time.monotonic()
    compose_project.compose("stop")
    assert time.monotonic() - began < TIMEOUT
    for container in compose_project.containers():
        assert compose_project.state(container)["ExitCode"] in (0, 143), (container, compose_project.log(container))
