"""Alerts and dashboards: checked with the tools of Prometheus, and seen on a running stack."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from scripts.draw_dashboard import draw
from tests import certificates
from tests.deployed_project import ALLOW_ANONYMOUS
from tests.matrix import MONITORED, TEMPLATE, TOKEN_COMBINATIONS, parametrize_combinations
from tests.monitoring import SPEED, Monitoring, exporters, scale, small_disk
from tests.proxies import Apache, Nginx, private_folder, send_request
from tests.services import MariaDB, PostgreSQL, RabbitMQ, Redis, fetch, free_port, program, serving, wait_until
from tests.test_monitoring import with_prometheus
from tests.test_queues import JobsProject, brokers, combination_with, deployed  # noqa: F401

RULES = Path(__file__).with_name("data") / "rules"
# The combination whose alerts and panels are seen on a running stack.
STACK = next(
    combination
    for combination in TOKEN_COMBINATIONS
    if {
        "database": "postgresql",
        "cache": "redis",
        "task_queue": "celery-redis",
        "wsgi_server": "gunicorn",
        "reverse_proxy": "nginx",
        "monitoring": "prometheus",
        "example_app": True,
    }.items()
    <= combination.options.items()
)


def rules_of(project: Path) -> Iterator[dict[str, Any]]:
    """Generate the rules of a project."""
    for path in sorted((project / "deploy" / "monitoring" / "rules").iterdir()):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def alerts_of(project: Path) -> set[str]:
    """Return the names of the alerts of a project."""
    return {rule["alert"] for rule in rules_of(project) if "alert" in rule}


@parametrize_combinations(MONITORED)
def test_configuration_is_valid(project: Path) -> None:
    """Prometheus and Alertmanager accept their files."""
    folder = project / "deploy" / "monitoring"
    commands: list[list[str | Path]] = [
        [program("promtool", "prometheus"), "check", "config", folder / "prometheus.yml"],
        [program("promtool", "prometheus"), "check", "rules", *(folder / "rules").iterdir()],
        [program("amtool", "prometheus-alertmanager"), "check-config", folder / "alertmanager.yml"],
    ]
    for command in commands:
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations(MONITORED)
def test_each_alert_has_an_entry_in_incidents(project: Path) -> None:
    """Each alert links to its own heading in docs/incidents.md, and no heading is without an alert."""
    text = (project / "docs" / "incidents.md").read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^### (\w+)$", text)
    rules = [rule for rule in rules_of(project) if "alert" in rule]
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/incidents.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket", "none")
    assert sorted(entries) == sorted(rule["alert"] for rule in rules)


@pytest.mark.parametrize("name", sorted(path.stem for path in RULES.iterdir()))
@parametrize_combinations([STACK])
def test_arithmetic_of_rules(project: Path, tmp_path: Path, name: str) -> None:
    """Burn rates, trends and the comparison with the last week have the expected values."""
    rules = project / "deploy" / "monitoring" / "rules" / f"{name}.yml"
    test = tmp_path / "test.yml"
    test.write_text((RULES / f"{name}.yml").read_text(encoding="utf-8").replace(f"[{name}.yml]", f"[{rules}]"))
    result = subprocess.run(
        [program("promtool", "prometheus"), "test", "rules", test], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


PROBE = """
import os
import time

from sqlalchemy import text

import probe
from {package}.core.cache import cache
from {package}.core.database import get_session
from {package}.core.http_client import fetch

app = probe.app


@app.get("/alerts/parent")
def parent():
    return str(os.getppid())


@app.get("/alerts/failing")
def failing():
    raise ValueError("wrong")


@app.get("/alerts/slow/<float:seconds>")
def slow(seconds):
    time.sleep(seconds)
    return "slow"


@app.get("/alerts/query/<float:seconds>")
def query(seconds):
    get_session().execute(text("SELECT pg_sleep(:seconds)"), {{"seconds": seconds}})
    return "queried"


@app.get("/alerts/queries")
def queries():
    for number in range(30):
        get_session().execute(text("SELECT 1"))
    return "queried"


@app.get("/alerts/upstream/<int:port>")
def upstream(port):
    try:
        fetch(f"http://127.0.0.1:{{port}}/")
    except OSError:
        return "failed"
    return "succeeded"


@cache.memoize()
def now(key: float) -> float:
    return key


@app.get("/alerts/miss")
def miss():
    return str(now(time.time()))
"""
PROBE += ALLOW_ANONYMOUS


FAILING_JOB = """

@shared_task
def always_failing():
    raise ValueError("wrong")
"""


def append(path: Path, text: str) -> None:
    """Append text to a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


class Stack:
    """A running project with all servers, exporters, Prometheus and Alertmanager."""

    def __init__(self, project: JobsProject, folder: Path) -> None:
        """Nothing runs yet."""
        self.project, self.folder = project, folder
        self.metrics = {name: free_port() for name in ("worker", "scheduler")}
        self.services = {name: ExitStack() for name in ("web", "worker", "scheduler")}
        # An upstream, and one that does not respond.
        self.upstream, self.closed = free_port(), free_port()
        self.seen: set[str] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run everything within a `with` block."""
        project, folder = self.project, self.folder
        (folder / "textfile").mkdir()
        with ExitStack() as stack:
            self.database = stack.enter_context(PostgreSQL.running("-c", "max_connections=40"))
            self.cache = stack.enter_context(Redis.running())
            url = self.database_url = self.database.create_database().url
            project.variables |= {
                "DATABASE_URL": url,
                "CACHE_URL": self.cache.url,
                "HTTP_CLIENT_ALLOWED_NETWORKS": "127.0.0.0/8",
                "HTTP_CLIENT_ALLOWED_PORTS": f"{self.upstream},{self.closed}",
                "HTTP_CLIENT_TIMEOUT": "1",
                "SLOW_QUERY_MS": "500",
                # As many connections as threads.
                "DATABASE_POOL_SIZE": "4",
                "DATABASE_MAX_OVERFLOW": "0",
            }
            project.migrate_and_seed()
            append(project.folder / "probe_jobs.py", FAILING_JOB)
            (project.folder / "alerts_probe.py").write_text(PROBE.format(package=project.package), encoding="utf-8")
            for service in self.services.values():
                stack.enter_context(service)
            self.web = self.services["web"].enter_context(
                project.serve("alerts_probe:app", threads=9, WEB_THREADS="4", METRICS_FOLDER=str(folder / "web"))
            )
            for name in ("worker", "scheduler"):
                variables = {"METRICS_FOLDER": str(folder / name), "METRICS_BIND": f"127.0.0.1:{self.metrics[name]}"}
                self.services[name].enter_context(project.running(name, **variables))
            application = self.web.removeprefix("http://")
            self.proxy = Nginx(project.folder, stack.enter_context(private_folder()), application)
            stack.enter_context(self.proxy.running())
            self.site = f"http://127.0.0.1:{self.proxy.http}"
            stack.enter_context(small_disk(folder / "disk", kilobytes=1024))
            redis = {"cache": self.cache.port, "broker": project.broker.port}
            commands = {
                "database": ["prometheus-postgres-exporter"],
                **{
                    name: ["prometheus-redis-exporter", f"--redis.addr=redis://127.0.0.1:{port}"]
                    for name, port in redis.items()
                },
                "proxy": [
                    "prometheus-nginx-exporter",
                    f"-nginx.scrape-uri=http://127.0.0.1:{self.proxy.status}/stub_status",
                ],
                "blackbox": [
                    "prometheus-blackbox-exporter",
                    f"--config.file={project.folder}/deploy/monitoring/blackbox.yml",
                ],
                # The file system of the test is in memory, which production excludes.
                "machine": [
                    "prometheus-node-exporter",
                    f"--collector.textfile.directory={folder}/textfile",
                    "--collector.disable-defaults",
                    *(f"--collector.{name}" for name in ("cpu", "filesystem", "meminfo", "textfile")),
                    "--collector.filesystem.fs-types-exclude=^$",
                ],
            }
            source = url.replace("+psycopg", "")
            variables = {
                "DATA_SOURCE_NAME": f"{source}?sslmode=disable",
                "SSL_CERT_FILE": str(certificates.create().authority),
            }
            ports = stack.enter_context(exporters(commands, folder, variables))
            tls = stack.enter_context(tls_server())
            upstream = f"http://127.0.0.1:{self.upstream}/"
            command: list[str | Path] = [
                project.programs / "python",
                "-m",
                "http.server",
                "--bind=127.0.0.1",
                str(self.upstream),
            ]
            stack.enter_context(
                serving(command, folder / "textfile", project.variables, upstream, folder / "upstream.log")
            )
            targets = {name: [f"127.0.0.1:{port}"] for name, port in {**ports, **self.metrics}.items()}
            targets |= {"web": [application], "edge": [f"{self.site}/health/ready", f"https://localhost:{tls}/"]}
            self.monitoring = Monitoring(project.folder, folder, targets)
            self.monitoring.import_history(last_week(project.folder.name))
            stack.enter_context(self.monitoring.running())
            yield

    def draw(self, name: str) -> None:
        """Draw a dashboard for the documentation."""
        path = self.project.folder / "deploy" / "monitoring" / "dashboards" / f"{name}.json"
        server = f"http://127.0.0.1:{self.monitoring.port}"
        image = draw(server, json.loads(path.read_text(encoding="utf-8")))
        (TEMPLATE / "docs" / "images" / f"dashboard-{name}.svg").write_text(image, encoding="utf-8")

    @contextmanager
    def busy_database(self) -> Iterator[None]:
        """Open most of the connections of the database within a `with` block."""
        name = self.database_url.rpartition("/")[2]
        with ExitStack() as stack:
            for _ in range(30):
                client = self.database.popen(*self.database.client_command(name), "-c", "SELECT pg_sleep(60)")
                stack.callback(client.wait)
                stack.callback(client.kill)
            yield

    def reload(self) -> None:
        """Let the web server replace its processes."""
        os.kill(int(fetch(f"{self.web}/alerts/parent").text), signal.SIGHUP)
        time.sleep(1)

    def wait_for_alerts(self, *names: str, timeout: float = 90) -> None:
        """Wait until Alertmanager has received these alerts; remember all others that it has."""

        def arrived() -> bool:
            self.seen |= self.monitoring.alerts().keys()
            return self.seen.issuperset(names)

        with suppress(AssertionError):
            wait_until(arrived, timeout=timeout)
        missing = {*names} - self.seen
        assert not missing, f"{sorted(missing)}; received: {sorted(self.seen)}"

    @contextmanager
    def requests(
        self, *paths: str, clients: int = 1, pause: float = 0.05, method: str = "GET", body: object = None
    ) -> Iterator[None]:
        """Send requests continuously within a `with` block."""
        done = Event()

        def send(path: str) -> None:
            while not done.wait(pause):
                with suppress(OSError):
                    fetch(self.web + path, method=method, body=body)

        with ThreadPoolExecutor(len(paths) * clients) as pool:
            for path in paths * clients:
                pool.submit(send, path)
            try:
                yield
            finally:
                done.set()


def assert_panels_have_data(monitoring: Monitoring, project: Path, name: str = "*") -> None:
    """Wait until each query of each panel of these dashboards returns a number."""
    missing = {
        target["expr"]
        for path in (project / "deploy" / "monitoring" / "dashboards").glob(f"{name}.json")
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    }
    assert missing

    def complete() -> bool:
        for expression in [*missing]:
            scaled = scale(expression).replace("$service", project.name).replace("$__rate_interval", "5s")
            if monitoring.query(scaled):
                missing.remove(expression)
        return not missing

    with suppress(AssertionError):
        wait_until(complete, timeout=30)
    assert not missing, "\n".join(sorted(missing))


@contextmanager
def tls_server() -> Iterator[int]:
    """Run a TLS server whose certificate expires in two days; the value is its port."""
    port, files = free_port(), certificates.create()
    command: list[str | Path] = [program("openssl", "openssl"), "s_server", "-quiet", "-www", "-accept", str(port)]
    process = subprocess.Popen([*command, "-cert", files.certificate, "-key", files.key], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def last_week(service: str) -> str:
    """Return samples of a week ago, in OpenMetrics format: many more requests than the test sends."""
    name = "http_server_request_duration_seconds_count"
    labels = f'service_name="{service}",job="web",instance="old:8000",http_route="/",http_response_status_code="200"'
    began = time.time() - 7 * 86400 / SPEED - 120
    samples = "\n".join(f"{name}{{{labels}}} {number * 10_000} {began + number:.3f}" for number in range(600))
    return f"# TYPE {name} unknown\n{samples}\n# EOF\n"


# The report of a browser.
VITALS = {"route": "/", "ttfb": 90, "fcp": 400.5, "lcp": 700, "inp": 48, "cls": 0.02}


@parametrize_combinations([STACK])
def test_alerts_fire_and_panels_have_data(deployed: JobsProject, tmp_path: Path) -> None:  # noqa: F811
    """Normal traffic causes no alert and data in every panel; then each alert fires for its cause."""
    stack = Stack(deployed, tmp_path)
    with stack.running():
        with (
            stack.requests("/api/v1/products", "/", "/alerts/query/0.01", f"/alerts/upstream/{stack.upstream}"),
            stack.requests("/web-vitals", method="POST", body=VITALS),
            stack.requests("/high", method="POST"),
        ):
            deployed.enqueue(*["low 1"] * 5, "always_failing", "high 1")
            assert_panels_have_data(stack.monitoring, deployed.folder)
            stack.wait_for_alerts("Watchdog")
            # The causes of three exist from the beginning.
            assert stack.seen <= {"Watchdog", "CertificateExpiresSoon", "DeadLetters", "UnusualTraffic"}
        expected = alerts_of(deployed.folder)
        (tmp_path / "textfile" / "backup.prom").write_text("backup_last_success_timestamp_seconds 1e9\n")
        (tmp_path / "disk" / "file").write_bytes(b"x" * 1_000_000)
        deployed.enqueue(*["always_failing"] * 10)
        with stack.requests(
            "/alerts/failing",
            "/alerts/slow/0.6",
            "/alerts/queries",
            f"/alerts/upstream/{stack.closed}",
            "/alerts/miss",
            clients=2,
        ):
            stack.wait_for_alerts(
                "HighErrorRatio",
                "ErrorBudgetBurnsFast",
                "ErrorBudgetBurnsSlowly",
                "UpstreamFailing",
                "TooManyQueries",
                "LowCacheHitRatio",
                "CertificateExpiresSoon",
                "DiskFills",
                "BackupTooOld",
                "UnusualTraffic",
                "JobsFailing",
                timeout=150,
            )
        with stack.requests("/alerts/query/2.0", clients=30, pause=0):
            stack.wait_for_alerts("ThreadsSaturated", "RequestsRejected", "ConnectionPoolExhausted", "SlowQueries")
        if "UPDATE_DOCS" in os.environ:
            stack.draw("service")
        with stack.busy_database():
            stack.wait_for_alerts("DatabaseConnectionsLow")
        for _ in range(8):
            stack.reload()
        stack.wait_for_alerts("RestartsTooOften")
        stack.services["worker"].close()
        deployed.enqueue("low 1")
        stack.wait_for_alerts("WorkerDown", "QueueDelayed")
        stack.services["scheduler"].close()
        stack.wait_for_alerts("SchedulerSilent")
        with (
            stack.cache.killed(),
            deployed.broker.killed(),
            stack.database.killed(),
            stack.requests("/alerts/miss"),
            stack.requests("/high", method="POST"),
        ):
            stack.wait_for_alerts("CacheDown", "BrokerUnavailable", "DatabaseDown")
        stack.services["web"].close()
        stack.wait_for_alerts(*expected)


@parametrize_combinations([with_prometheus(combination_with("celery-rabbitmq"))])
def test_backlog_without_a_worker_fires_with_rabbitmq(deployed: JobsProject, tmp_path: Path) -> None:  # noqa: F811
    """A job that no worker takes causes the alert, and no other queue does."""
    bind = f"127.0.0.1:{free_port()}"
    monitoring = Monitoring(deployed.folder, tmp_path, {"scheduler": [bind], "blackbox": [bind]})
    deployed.enqueue("low 1")
    with (
        deployed.running("scheduler", METRICS_FOLDER=str(tmp_path / "metrics"), METRICS_BIND=bind),
        monitoring.running(),
    ):
        wait_until(lambda: "QueueBacklog" in monitoring.alerts(), timeout=60)
        assert [alert["labels"]["queue"] for alert in monitoring.alerts()["QueueBacklog"]] == ["low"]


APACHE = with_prometheus(next(one for one in TOKEN_COMBINATIONS if one.options["reverse_proxy"] == "apache"))


@parametrize_combinations([APACHE])
@pytest.mark.usefixtures("combination")
def test_panels_of_apache_have_data(project: Path, tmp_path: Path) -> None:
    """The exporter reads numbers at a port of their own, which shows neither URLs of clients nor the site."""
    with ExitStack() as stack:
        apache = Apache(project, stack.enter_context(private_folder()), f"127.0.0.1:{free_port()}")
        stack.enter_context(apache.running())
        status = f"http://{apache.variables['STATUS_PORT']}/server-status"
        command = ["prometheus-apache-exporter", f"--scrape_uri={status}?auto"]
        ports = stack.enter_context(exporters({"proxy": command}, tmp_path, {}))
        targets = {"proxy": [f"127.0.0.1:{ports['proxy']}"], "blackbox": ["127.0.0.1:1"]}
        monitoring = Monitoring(project, tmp_path, targets)
        stack.enter_context(monitoring.running())
        for _ in range(5):
            # Nothing responds behind Apache.
            assert send_request(apache.http, "/secret?token=x").status == 503
            time.sleep(0.5)
        assert_panels_have_data(monitoring, project, "apache")
        assert fetch(f"{status}?auto").status == 200
        assert "/secret" not in fetch(f"{status}?auto").text
        assert [fetch(f"{status}{rest}").status for rest in ("", "?auto&x", "/", "/../secret")] == [403, 403, 404, 404]
        assert send_request(apache.http, "/server-status?auto").status == 503
        assert {line["path"] for line in apache.access_log()} == {"/secret", "/server-status"}


@contextmanager
def open_connections(server: MariaDB, database: str, number: int, query: str) -> Iterator[None]:
    """Send a query every 0.1 s in each of some connections within a `with` block."""
    with ExitStack() as stack:
        for _ in range(number):
            statements = f"{query}; DO SLEEP(0.1);" * 600
            client = server.popen(*server.client_command(database), f"--execute={statements}")
            stack.callback(client.wait)
            stack.callback(client.kill)
        yield


def collectors(project: Path, service: str) -> list[str]:
    """Return the options of an exporter in Compose that choose its collectors."""
    compose = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    return [option for option in compose["services"][service]["command"] if "collect" in option]


MYSQL = with_prometheus(next(one for one in TOKEN_COMBINATIONS if one.options["database"] == "mysql"))


@parametrize_combinations([MYSQL])
@pytest.mark.usefixtures("combination")
def test_panels_and_alerts_of_mysql(project: Path, tmp_path: Path) -> None:
    """The exporter reads the server as a user who may use one database; the alerts are seen."""
    with ExitStack() as stack:
        server = stack.enter_context(MariaDB.running("--max-connections=10"))
        name = server.create_database().url.rpartition("/")[2]
        with server.unavailable():
            # The user whom the image creates for Compose.
            append(server.folder / "grant.sql", f"GRANT ALL ON {name}.* TO app@'127.0.0.1' IDENTIFIED BY 'app';\n")
        command = ["prometheus-mysqld-exporter", *collectors(project, "database-exporter")]
        variables = {"DATA_SOURCE_NAME": f"app:app@(127.0.0.1:{server.port})/"}
        ports = stack.enter_context(exporters({"database": command}, tmp_path, variables))
        targets = {"database": [f"127.0.0.1:{ports['database']}"], "blackbox": ["127.0.0.1:1"]}
        monitoring = Monitoring(project, tmp_path, targets)
        stack.enter_context(monitoring.running())
        query = "SELECT COUNT(*) FROM numbers"
        server.query(name, "CREATE TABLE numbers (number INT PRIMARY KEY) AS SELECT 1 AS number;")
        with open_connections(server, name, 2, query):
            assert_panels_have_data(monitoring, project, "mysql")
        assert not monitoring.alerts().keys() & {"DatabaseDown", "DatabaseConnectionsLow"}
        with open_connections(server, name, 9, query):
            wait_until(lambda: "DatabaseConnectionsLow" in monitoring.alerts())
        with server.killed():
            wait_until(lambda: "DatabaseDown" in monitoring.alerts())
        assert "Access denied" not in (tmp_path / "database-exporter.log").read_text()


class MonitoredRabbitMQ(RabbitMQ):
    """RabbitMQ with the plug-in that the image enables."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Enable the plug-in."""
        super().__init__(folder, *options)
        self.metrics = free_port()
        append(folder / "rabbitmq.conf", f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.metrics}\n")
        (folder / "enabled_plugins").write_text("[rabbitmq_prometheus].")


@parametrize_combinations([with_prometheus(combination_with("celery-rabbitmq"))])
@pytest.mark.usefixtures("combination")
def test_panels_of_rabbitmq_have_data(project: Path, tmp_path: Path) -> None:
    """RabbitMQ serves metrics itself."""
    with ExitStack() as stack:
        server = stack.enter_context(MonitoredRabbitMQ.running())
        targets = {"broker": [f"127.0.0.1:{server.metrics}"], "blackbox": ["127.0.0.1:1"]}
        monitoring = Monitoring(project, tmp_path, targets)
        stack.enter_context(monitoring.running())
        assert_panels_have_data(monitoring, project, "rabbitmq")
