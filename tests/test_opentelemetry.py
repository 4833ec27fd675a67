"""Traces of real servers and workers, which a receiver on loopback decodes: also the last ones, and with failures."""

import json
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from tests.application_servers import application_server
from tests.deployed_project import ALLOW_ANONYMOUS, SHORT_TIMEOUT
from tests.matrix import OPTIONS, TOKEN_COMBINATIONS, Combination, parametrize_combinations
from tests.services import free_port, wait_until
from tests.test_queues import (  # noqa: F401
    QUEUED,
    JobsProject,
    brokers,
    combination_with,
    deployed,
)

OK = (
    """

@app.get("/probe/ok/<int:number>")
def ok(number):
    return "ok"
"""
    + ALLOW_ANONYMOUS
)

# A receiver for the project's environment, which has the classes of the protocol. It writes one line for each request,
# as slowly as a distant service. Arguments: port, file.
RECEIVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TYPES = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest, "traces": ExportTraceServiceRequest}
file = open(sys.argv[2], "a", buffering=1)

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(0.3)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = MessageToDict(TYPES[self.path.rpartition('/')[2]].FromString(body))
        file.write(json.dumps({"path": self.path, "headers": dict(self.headers), "message": message}) + "\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# Sends a span, the metrics and a log line; argument: package. The variables are those of a service.
ONE_REQUEST = """
import sys
from importlib import import_module
app = import_module(sys.argv[1]).create_app()
tracing = import_module(sys.argv[1] + ".core.monitoring.otlp.tracing").tracing
if tracing.sdk:
    tracing.sdk.start_metrics()
app.test_client().get("/nowhere", base_url="http://127.0.0.1")
"""

# Sends many spans, and prints the durations of requests and of the end; argument: package.
MANY_SPANS = """
import atexit
import json
import sys
from importlib import import_module
from time import perf_counter
# The last function that is called.
atexit.register(lambda: print("stopped", perf_counter() - ended, flush=True))
client = import_module(sys.argv[1]).create_app().test_client()
import_module(sys.argv[1] + ".core.monitoring.otlp.tracing").tracing.sdk.start_metrics()
durations = []
for _ in range(3000):
    started = perf_counter()
    client.get("/nowhere", base_url="http://127.0.0.1")
    durations.append(perf_counter() - started)
print("durations", json.dumps(durations), flush=True)
ended = perf_counter()
"""


@dataclass(frozen=True)
class Service:
    """Variables OTEL_EXPORTER_OTLP_… of docs/opentelemetry.md, and what the service expects."""

    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    metrics_headers: dict[str, str] = field(default_factory=dict)
    uses_delta: bool = False

    def variables(self) -> dict[str, str]:
        """Return the variables except for the endpoint."""
        variables = {"HEADERS": self.headers, "METRICS_HEADERS": self.metrics_headers}
        encoded = {
            name: ",".join(f"{key}={quote(value, safe='=')}" for key, value in headers.items())
            for name, headers in variables.items()
            if headers
        }
        if self.uses_delta:
            encoded["METRICS_TEMPORALITY_PREFERENCE"] = "delta"
        return {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in encoded.items()}


HONEYCOMB = {"x-honeycomb-team": "KEY"}
SERVICES = {
    "datadog": Service(uses_delta=True),
    "new-relic": Service(headers={"api-key": "KEY"}, uses_delta=True),
    "elastic": Service(headers={"authorization": "ApiKey KEY"}),
    "grafana": Service("/otlp", {"authorization": "Basic MTpnbGM="}),
    "honeycomb": Service(headers=HONEYCOMB, metrics_headers={**HONEYCOMB, "x-honeycomb-dataset": "metrics"}),
}


def with_opentelemetry(combination: Combination) -> Combination:
    """Return the combination with OpenTelemetry."""
    options = {**combination.options, "monitoring": "opentelemetry"}
    return replace(combination, id=f"{combination.id}-opentelemetry", options=options)


SERVED = [
    with_opentelemetry(next(one for one in TOKEN_COMBINATIONS if one.options["wsgi_server"] == server))
    for server in OPTIONS["wsgi_server"]
]


def attributes_of(resource: Any) -> dict[str, Any]:  # noqa: ANN401 - decoded JSON
    """Return the attributes of a resource or a point, of which all here are texts or numbers."""
    owner = resource.get("resource", resource)
    return {one["key"]: next(iter(one["value"].values())) for one in owner["attributes"]}


class Receiver:
    """A running receiver."""

    def __init__(self, folder: Path) -> None:
        """Choose a port and a file."""
        self.port = free_port()
        self.file = folder / "received"
        self.file.touch()

    @property
    def url(self) -> str:
        """The value of OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests until now."""
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]

    def spans(self, name: str) -> list[dict[str, Any]]:
        """Return the spans whose name contains a text."""
        return [
            span
            for request in self.requests()
            for resource in request["message"].get("resourceSpans", [])
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
            if name in span["name"]
        ]

    def points(self, name: str) -> list[dict[str, Any]]:
        """Return the points of a histogram or a sum, with the ID of their process."""
        return [
            {**point, "instance": attributes_of(resource)["service.instance.id"]}
            for request in self.requests()
            for resource in request["message"].get("resourceMetrics", [])
            for scope in resource["scopeMetrics"]
            for metric in scope.get("metrics", [])
            if metric["name"] == name
            for point in metric.get("histogram", metric.get("sum"))["dataPoints"]
        ]

    def counts(self, name: str) -> dict[tuple[Any, ...], int]:
        """Return the sum of the last values of all processes, by their attributes in alphabetical order."""
        last = {(point["instance"], *sorted(attributes_of(point).items())): point for point in self.points(name)}
        found: Counter[tuple[Any, ...]] = Counter()
        for (_, *attributes), point in last.items():
            found[tuple(value for _, value in attributes)] += int(point.get("count") or point["asDouble"])
        return dict(found)

    def lines(self, text: str) -> list[dict[str, Any]]:
        """Return the log lines with a text."""
        return [
            record
            for request in self.requests()
            for resource in request["message"].get("resourceLogs", [])
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
            if record["body"]["stringValue"] == text
        ]


@pytest.fixture
def receiver(venv_bin: Path, tmp_path: Path) -> Iterator[Receiver]:
    """A running receiver."""
    started = Receiver(tmp_path)
    command: list[str | Path] = [venv_bin / "python", "-c", RECEIVER, str(started.port), started.file]
    with subprocess.Popen(command) as process:

        def accepts() -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", started.port)) == 0

        wait_until(accepts, process)
        yield started
        process.terminate()


def package_of(project: Path) -> str:
    """Return the name of the package."""
    (package,) = (path.name for path in project.glob("src/*"))
    return package


def variables_of(project: Path, endpoint: str) -> dict[str, str]:
    """Return the variables of a process that exports to an endpoint."""
    limits = dict.fromkeys(("RATE_LIMIT", "RATE_LIMIT_WRITES"), "100000/second")
    variables = {"FLASK_TESTING": "1", "PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**limits, **variables, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}


def add_view(workspace: Path) -> None:
    """Add a view to the module that servers load."""
    (module,) = workspace.glob("src/*/wsgi.py")
    module.write_text(module.read_text(encoding="utf-8") + OK, encoding="utf-8")


class FailingCollector(BaseHTTPRequestHandler):
    """Responds late, or with an error."""

    failures: ClassVar[dict[str, tuple[int, int, dict[str, str]]]] = {
        "slow": (5, 200, {}),
        "unavailable": (0, 503, {"Retry-After": "60"}),
        "limiting": (0, 429, {"Retry-After": "1"}),
    }
    failure: ClassVar[str]

    def do_POST(self) -> None:
        """Respond as `failure` says."""
        self.rfile.read(int(self.headers["Content-Length"]))
        seconds, status, headers = self.failures[self.failure]
        time.sleep(seconds)
        with suppress(OSError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def failing_collector(failure: str) -> Iterator[str]:
    """Yield the URL of a collector that is gone, accepts connections silently, or fails as `FailingCollector`."""
    if failure in FailingCollector.failures:
        handler = type("Handler", (FailingCollector,), {"failure": failure})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.daemon_threads = True
            thread = Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()
        return
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if failure == "silent":
            silent.listen()
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@parametrize_combinations(SERVED)
def test_server_exports_each_span_also_the_last_ones(
    combination: Combination, workspace: Path, venv_bin: Path, tmp_path: Path, receiver: Receiver
) -> None:
    """A server that stops immediately after requests exports their spans; each process has its own exporter."""
    add_view(workspace)
    settings: Any = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_LOGS_EXPORTER": "otlp", "WEB_CONCURRENCY": "1"}
    with application_server(workspace, combination, venv_bin, tmp_path / "log", **settings) as server:
        for number in range(5):
            assert server.request(f"/probe/ok/{number}").status == 200
        server.process.terminate()
        server.process.wait(SHORT_TIMEOUT)
    spans = receiver.spans("GET /probe/ok/<int:number>")
    assert len({span["spanId"] for span in spans}) == len(spans) == 5
    assert {span["kind"] for span in spans} == {"SPAN_KIND_SERVER"}
    points = receiver.points("http.server.request.duration")
    counts = [int(point["count"]) for point in points if "/probe/ok/<int:number>" in attributes_of(point).values()]
    assert counts == [5]
    lines = {line["traceId"] for line in receiver.lines("request")}
    assert lines >= {span["traceId"] for span in spans}


@parametrize_combinations([with_opentelemetry(combination) for combination in QUEUED])
def test_jobs_continue_the_trace_of_the_request(deployed: JobsProject, receiver: Receiver) -> None:  # noqa: F811
    """Request, sent job and attempt are one trace, also for a job whose worker stops after it."""
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    assert deployed.request_all("POST /low/1", "POST /low/2", **export) == [202, 202]
    deployed.enqueue("flaky")
    with deployed.running("worker", **export) as worker:
        wait_until(deployed.has_records("low", 2), timeout=30)
        wait_until(deployed.has_records("flaky", 2), timeout=30)
        worker.send_signal(signal.SIGTERM)
        worker.wait(SHORT_TIMEOUT)
    sent = {span["spanId"]: span for span in receiver.spans("send probe_jobs.low")}
    processed = receiver.spans("process probe_jobs.low")
    assert len(sent) == len(processed) == 2
    requests = {span["spanId"]: span for span in receiver.spans("POST /")}
    for span in processed:
        sender = sent[span["parentSpanId"]]
        assert span["links"][0]["spanId"] == sender["spanId"]
        assert span["traceId"] == sender["traceId"] == requests[sender["parentSpanId"]]["traceId"]
    low, flaky = "probe_jobs.low", "probe_jobs.flaky"
    assert receiver.counts("task.attempts") == {(low, "succeeded"): 2, (flaky, "retried"): 1, (flaky, "succeeded"): 1}
    for name in ("messaging.client.consumed.messages", "messaging.process.duration"):
        counts = {key[-1]: value for key, value in receiver.counts(name).items()}
        assert counts == {low: 2, flaky: 2}
    attempts = receiver.spans("process probe_jobs.flaky")
    assert sorted(span.get("status", {}).get("code", "") for span in attempts) == ["", "STATUS_CODE_ERROR"]


@parametrize_combinations([with_opentelemetry(combination) for combination in QUEUED])
def test_scheduler_exports_the_length_of_each_queue(deployed: JobsProject, receiver: Receiver) -> None:  # noqa: F811
    """One process exports the lengths, so that nothing adds them up."""
    deployed.enqueue("low 1", "low 2", "high 1")
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with deployed.running("scheduler", **export):
        wait_until(lambda: bool(receiver.points("task.queue.length")), timeout=30)
    points = receiver.points("task.queue.length")
    sizes = {attributes_of(point)["messaging.destination.name"]: int(point["asInt"]) for point in points}
    assert sizes == {**dict.fromkeys(("default", "failed"), 0), "low": 2, "high": 1}
    assert len({point["instance"] for point in points}) == 1


@parametrize_combinations([with_opentelemetry(combination_with("rq-redis"))])
def test_failing_collector_delays_the_next_job_by_half_a_second(deployed: JobsProject) -> None:  # noqa: F811
    """RQ starts the next job when the process of a failed one has ended; here each process has one job."""
    deployed.enqueue(*(f"low {number}" for number in range(6)))
    variables = {"WORKER_MAX_TASKS_PER_CHILD": "1"}
    with failing_collector("silent") as url, deployed.running("worker", OTEL_EXPORTER_OTLP_ENDPOINT=url, **variables):
        wait_until(deployed.has_records("low", 1), timeout=30)
        started = time.monotonic()
        wait_until(deployed.has_records("low", 6), timeout=30)
        # The timeout of 3 s would make it 15 s.
        assert time.monotonic() - started < 8


@parametrize_combinations([SERVED[0]])
@pytest.mark.usefixtures("combination")
@pytest.mark.parametrize("failure", ["gone", "silent", "slow", "unavailable", "limiting"])
def test_failed_collector_delays_no_request_and_the_end_by_three_seconds(
    project: Path, venv_bin: Path, failure: str
) -> None:
    """More spans than the queue has places cost no request anything, and the log has one warning."""
    with failing_collector(failure) as url:
        variables = {**variables_of(project, url), "OTEL_BSP_MAX_QUEUE_SIZE": "600", "OTEL_LOGS_EXPORTER": "otlp"}
        command: list[str | Path] = [venv_bin / "python", "-c", MANY_SPANS, package_of(project)]
        result = subprocess.run(command, check=True, env=variables, cwd=project, capture_output=True, text=True)
    assert not result.stderr
    lines = result.stdout.splitlines()
    durations, stopped = (
        next(json.loads(line.partition(" ")[2]) for line in lines if line.startswith(name))
        for name in ("durations", "stopped")
    )
    # A request that waited would take as long as an export. The first ones find a queue with places.
    assert max(durations) < 2.5
    assert median(durations[-500:]) < 5 * median(durations[:500])
    # Without a timeout the SDK takes 6 s, or 10.
    assert stopped < 4
    # After an error that is not to be retried soon the batch is lost, so the queue need not be full.
    full = len([line for line in lines if "Queue full" in line])
    assert full == 1 or (full == 0 and failure not in {"silent", "slow"})
    # One line a minute for each signal.
    assert len([line for line in lines if "opentelemetry.exporter" in line]) in {1, 2, 3}


@pytest.fixture
def export_once(project: Path, venv_bin: Path, receiver: Receiver) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return a function that exports with these variables, and returns the request of each signal."""

    def export(path: str = "", **variables: str) -> dict[str, dict[str, Any]]:
        command: list[str | Path] = [venv_bin / "python", "-c", ONE_REQUEST, package_of(project)]
        environ = {**variables_of(project, receiver.url + path), "OTEL_LOGS_EXPORTER": "otlp", **variables}
        subprocess.run(command, check=True, env=environ, cwd=project)
        return {request["path"].rpartition("/")[2]: request for request in receiver.requests()}

    return export


Export = Callable[..., dict[str, dict[str, Any]]]


def exported_attributes(request: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the service in the request of a signal."""
    ((resource,),) = request["message"].values()
    return attributes_of(resource)


@parametrize_combinations([SERVED[0]])
@pytest.mark.usefixtures("combination")
@pytest.mark.parametrize("service", SERVICES)
def test_variables_of_a_service_set_path_headers_and_attributes(
    project: Path, export_once: Export, service: str
) -> None:
    """Traces, metrics and logs have the path, headers and attributes that each service documents."""
    expected = SERVICES[service]
    resource = "service.version=1.4.2,deployment.environment.name=staging"
    requests = export_once(expected.path, OTEL_RESOURCE_ATTRIBUTES=resource, **expected.variables())
    assert requests.keys() == {"traces", "metrics", "logs"}
    for name, request in requests.items():
        sent = {key.lower(): value for key, value in request["headers"].items()}
        headers = expected.metrics_headers if name == "metrics" else {}
        assert request["path"] == f"{expected.path}/v1/{name}"
        assert sent["content-type"] == "application/x-protobuf"
        assert (headers or expected.headers).items() <= sent.items()
        attributes = exported_attributes(request)
        assert attributes["service.name"] == project.name
        assert attributes["service.version"] == "1.4.2"
        assert attributes["deployment.environment.name"] == "staging"
    temporality = "DELTA" if expected.uses_delta else "CUMULATIVE"
    assert f"AGGREGATION_TEMPORALITY_{temporality}" in json.dumps(requests["metrics"])


@parametrize_combinations([SERVED[0]])
@pytest.mark.usefixtures("combination")
@pytest.mark.parametrize(
    ("variable", "value", "signals"),
    [
        ("OTEL_TRACES_EXPORTER", "none", {"metrics", "logs"}),
        ("OTEL_METRICS_EXPORTER", "none", {"traces", "logs"}),
        ("OTEL_LOGS_EXPORTER", "none", {"traces", "metrics"}),
        ("OTEL_SDK_DISABLED", "true", set()),
    ],
)
def test_standard_variables_turn_signals_off(export_once: Export, variable: str, value: str, signals: set[str]) -> None:
    """Other signals are exported, with the default attributes of the service."""
    requests = export_once(**{variable: value, "APP_VERSION": "4f2a1c"})
    assert requests.keys() == signals
    for request in requests.values():
        attributes = exported_attributes(request)
        assert attributes["service.version"] == "4f2a1c"
        assert attributes["deployment.environment.name"] == "production"
