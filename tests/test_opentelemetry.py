"""Traces of real servers and workers, which a receiver on loopback decodes: also the last ones, and with failures."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.application_servers import application_server
from tests.deployed_project import ALLOW_ANONYMOUS, SHORT_TIMEOUT
from tests.matrix import OPTIONS, TOKEN_COMBINATIONS, Combination, parametrize_combinations
from tests.services import free_port, wait_until
from tests.test_queues import (  # noqa: F401
    QUEUED,
    JobsProject,
    brokers,
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

# Sends one span; argument: package. The variables are those of a service.
ONE_SPAN = """
import sys
from importlib import import_module
app = import_module(sys.argv[1]).create_app()
app.test_client().get("/nowhere", base_url="http://127.0.0.1")
"""

# Sends many spans, and prints the durations of requests; argument: package.
MANY_SPANS = """
import json
import sys
from importlib import import_module
from time import perf_counter
client = import_module(sys.argv[1]).create_app().test_client()
durations = []
for _ in range(3000):
    started = perf_counter()
    client.get("/nowhere", base_url="http://127.0.0.1")
    durations.append(perf_counter() - started)
print("durations", json.dumps(durations), flush=True)
"""

# Variables of docs/opentelemetry.md with the host of the receiver, and the path and headers that the service expects.
SERVICES: dict[str, tuple[dict[str, str], str, dict[str, str]]] = {
    "datadog": ({}, "/v1/traces", {}),
    "new-relic": ({"HEADERS": "api-key=KEY"}, "/v1/traces", {"api-key": "KEY"}),
    "elastic": ({"HEADERS": "Authorization=ApiKey%20KEY"}, "/v1/traces", {"authorization": "ApiKey KEY"}),
    "grafana": (
        {"HEADERS": "Authorization=Basic%20MTpnbGM=", "PATH": "/otlp"},
        "/otlp/v1/traces",
        {"authorization": "Basic MTpnbGM="},
    ),
    "honeycomb": ({"HEADERS": "x-honeycomb-team=KEY"}, "/v1/traces", {"x-honeycomb-team": "KEY"}),
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
        """Return the points of a histogram, with the ID of their process."""
        return [
            {**point, "instance": attributes_of(resource)["service.instance.id"]}
            for request in self.requests()
            for resource in request["message"].get("resourceMetrics", [])
            for scope in resource["scopeMetrics"]
            for metric in scope.get("metrics", [])
            if metric["name"] == name
            for point in metric["histogram"]["dataPoints"]
        ]

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
    variables = {"FLASK_TESTING": "1", "PYTHONPATH": str(project / "src"), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    return {**limits, **variables}


def add_view(workspace: Path) -> None:
    """Add a view to the module that servers load."""
    (module,) = workspace.glob("src/*/wsgi.py")
    module.write_text(module.read_text(encoding="utf-8") + OK, encoding="utf-8")


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
    if deployed.uses_celery:
        # Each process of the pool has series of its own.
        points = receiver.points("task.duration")
        names = [attributes_of(point) for point in points for _ in range(int(point["count"]))]
        outcomes = sorted((one["task.name"], one["task.outcome"]) for one in names)
        low, flaky = "probe_jobs.low", "probe_jobs.flaky"
        assert outcomes == sorted([(flaky, "failed"), (flaky, "succeeded"), (low, "succeeded"), (low, "succeeded")])
    attempts = receiver.spans("process probe_jobs.flaky")
    assert sorted(span.get("status", {}).get("code", "") for span in attempts) == ["", "STATUS_CODE_ERROR"]


@parametrize_combinations([SERVED[0]])
@pytest.mark.usefixtures("combination")
@pytest.mark.parametrize("failure", ["gone", "silent"])
def test_failed_collector_delays_no_request_and_the_end_by_three_seconds(
    project: Path, venv_bin: Path, failure: str
) -> None:
    """More spans than the queue has places cost no request anything, and the log has one warning."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if failure == "silent":
            silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        variables = {**variables_of(project, url), "OTEL_BSP_MAX_QUEUE_SIZE": "600"}
        with subprocess.Popen(
            [venv_bin / "python", "-c", MANY_SPANS, package_of(project)],
            env=variables,
            cwd=project,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("durations"):
                    ends = time.monotonic()
            process.wait(SHORT_TIMEOUT)
            stopped = time.monotonic() - ends
    durations = next(json.loads(line.partition(" ")[2]) for line in lines if line.startswith("durations"))
    # A request that waited would take as long as an export. The first ones find a queue with places.
    assert max(durations) < 2.5
    assert median(durations[-500:]) < 5 * median(durations[:500])
    # Without a timeout the SDK takes 6 s, or 10.
    assert stopped < 5.5
    assert len([line for line in lines if "opentelemetry" in line]) <= 1


@parametrize_combinations([SERVED[0]])
@pytest.mark.usefixtures("combination")
@pytest.mark.parametrize("service", SERVICES)
def test_variables_of_a_service_set_path_headers_and_attributes(
    project: Path, venv_bin: Path, receiver: Receiver, service: str
) -> None:
    """The exporter sends the path, headers and attributes that each service documents."""
    names, path, headers = SERVICES[service]
    variables = variables_of(project, receiver.url + names.get("PATH", ""))
    variables["OTEL_RESOURCE_ATTRIBUTES"] = "service.version=1.4.2,deployment.environment.name=production"
    if "HEADERS" in names:
        variables["OTEL_EXPORTER_OTLP_HEADERS"] = names["HEADERS"]
    command: list[str | Path] = [venv_bin / "python", "-c", ONE_SPAN, package_of(project)]
    subprocess.run(command, check=True, env=variables, cwd=project)
    (request,) = receiver.requests()
    sent = {name.lower(): value for name, value in request["headers"].items()}
    assert request["path"] == path
    assert sent["content-type"] == "application/x-protobuf"
    assert headers.items() <= sent.items()
    (resource,) = request["message"]["resourceSpans"]
    attributes = attributes_of(resource)
    assert attributes["service.name"] == project.name
    assert attributes["service.version"] == "1.4.2"
    assert attributes["deployment.environment.name"] == "production"
