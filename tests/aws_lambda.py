"""A fake of Lambda's Runtime API, from which AWS's runtime client gets events, and events in the formats of sources.

The formats follow the documentation of API Gateway (payload formats 1.0 and 2.0) and of Application Load Balancer.
"""

import json
import os
import signal
import subprocess
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.services import stop, wait_until

Event = dict[str, Any]
CLIENT = "203.0.113.7"
HOST = "example.com"


class Request(NamedTuple):
    """A request of a client."""

    url: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = {}
    cookies: tuple[str, ...] = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        """Return the path, percent-encoded."""
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        """Return the parameters of the query string."""
        return parse_qs(urlsplit(self.url).query)

    def all_headers(self) -> dict[str, str]:
        """Return the headers that the gateway passes on: it appends the address of the client to X-Forwarded-For."""
        given = {name.lower(): value for name, value in self.headers.items()}
        forwarded = ", ".join(filter(None, [given.get("x-forwarded-for"), CLIENT]))
        gateway = {"x-forwarded-for": forwarded, "x-forwarded-proto": "https", "x-forwarded-port": "443"}
        return {"host": HOST, **given, **gateway}

    def encoded_body(self) -> dict[str, Any]:
        """Return the body: bytes that are no text are encoded as base64."""
        return {"body": b64encode(self.body).decode() if self.body else None, "isBase64Encoded": bool(self.body)}


def http_api(request: Request) -> Event:
    """Return an event of an HTTP API or a function URL: payload format 2.0."""
    http = {
        "method": request.method,
        "path": request.path,
        "protocol": "HTTP/1.1",
        "sourceIp": CLIENT,
        "userAgent": "tests",
    }
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": urlsplit(request.url).query,
        "headers": request.all_headers(),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": HOST,
            "http": http,
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
        },
        **request.encoded_body(),
    }
    if request.cookies:
        event["cookies"] = [*request.cookies]
    if request.query:
        event["queryStringParameters"] = {name: ",".join(values) for name, values in request.query.items()}
    return event


def rest_api(request: Request) -> Event:
    """Return an event of a REST API: payload format 1.0, with the path decoded and the stage in its context."""
    headers = request.all_headers() | ({"cookie": "; ".join(request.cookies)} if request.cookies else {})
    multiple = {name: [value] for name, value in headers.items()}
    if request.cookies:
        multiple["cookie"] = [*request.cookies]
    return {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": unquote(request.path),
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": multiple,
        "queryStringParameters": {name: values[-1] for name, values in request.query.items()} or None,
        "multiValueQueryStringParameters": request.query or None,
        "requestContext": {
            "path": f"/prod{unquote(request.path)}",
            "stage": "prod",
            "identity": {"sourceIp": CLIENT, "userAgent": "tests"},
            "protocol": "HTTP/1.1",
        },
        "pathParameters": {"proxy": request.path[1:]},
        **request.encoded_body(),
    }


def load_balancer(request: Request) -> Event:
    """Return an event of an Application Load Balancer; it decodes nothing."""
    headers = request.all_headers() | ({"cookie": "; ".join(request.cookies)} if request.cookies else {})
    raw = [part.partition("=")[::2] for part in urlsplit(request.url).query.split("&") if part]
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:region:1:targetgroup/name/id"}},
        "httpMethod": request.method,
        "path": request.path,
        "queryStringParameters": dict(raw),
        "headers": headers,
        **request.encoded_body(),
        "body": request.encoded_body()["body"] or "",
    }


def load_balancer_with_lists(request: Request) -> Event:
    """Return an event of a load balancer whose target group has multi-value headers turned on."""
    event = load_balancer(request)
    values: dict[str, list[str]] = {}
    for part in filter(None, urlsplit(request.url).query.split("&")):
        name, _, value = part.partition("=")
        values.setdefault(name, []).append(value)
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    event["multiValueQueryStringParameters"] = values
    del event["queryStringParameters"]
    return event


FORMATS: dict[str, Callable[[Request], Event]] = {
    "http-api": http_api,
    "rest-api": rest_api,
    "load-balancer": load_balancer,
    "load-balancer-with-lists": load_balancer_with_lists,
}


class Response(NamedTuple):
    """What a client gets from the gateway for the result of the function."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    @classmethod
    def of(cls, result: dict[str, Any]) -> "Response":
        """Return the response of the gateway, whatever the format of the result."""
        pairs = [*(result.get("headers") or {}).items()]
        pairs += [(name, value) for name, values in result.get("multiValueHeaders", {}).items() for value in values]
        body = b64decode(result["body"]) if result["isBase64Encoded"] else result["body"].encode()
        return cls(
            result["statusCode"],
            {name.lower(): value for name, value in pairs},
            result.get("cookies") or [value for name, value in pairs if name.lower() == "set-cookie"],
            body,
        )


class FunctionError(Exception):
    """The handler raised an exception."""


class Runtime(ThreadingHTTPServer):
    """The fake API: the client gets an event for each `invoke`."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), RuntimeHandler)
        self.events: Queue[Event] = Queue()
        self.results: Queue[tuple[str, Any]] = Queue()
        self.process: subprocess.Popen[bytes] | None = None

    def invoke(self, event: Event) -> dict[str, Any]:
        """Pass an event to the function and return its result."""
        self.events.put(event)
        wait_until(lambda: not self.results.empty(), self.process)
        kind, result = self.results.get()
        if kind != "response":
            raise FunctionError(result["errorMessage"])
        assert isinstance(result, dict)
        return result

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the process within a `with` block, as Lambda does between two requests."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)
        yield
        os.kill(self.process.pid, signal.SIGCONT)


class RuntimeHandler(BaseHTTPRequestHandler):
    """The two calls of the client."""

    protocol_version = "HTTP/1.1"
    server: Runtime

    def do_GET(self) -> None:
        """Return the next event."""
        body = json.dumps(self.server.events.get()).encode()
        self.send_response(200)
        for name, value in {
            "Lambda-Runtime-Aws-Request-Id": "request",
            "Lambda-Runtime-Deadline-Ms": "4102444800000",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:region:123456789012:function:name",
            # Without it the client crashes (awslambdaric 4.2.2).
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Store a result or an error."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.results.put((self.path.rpartition("/")[2], json.loads(body)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def function(project: Path, programs: Path, handler: str, log: Path, variables: Mapping[str, str]) -> Iterator[Runtime]:
    """Run a function with AWS's runtime client within a `with` block, in the environment that Lambda sets."""
    (package,) = (path.name for path in (project / "src").iterdir())
    with Runtime() as runtime, log.open("wb") as output:
        thread = threading.Thread(target=runtime.serve_forever, args=(0.01,))
        thread.start()
        try:
            runtime.process = subprocess.Popen(
                [programs / "python", "deploy/lambda_server.py", f"{package}.{handler}"],
                cwd=project,
                env={
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_port}",
                    "AWS_LAMBDA_FUNCTION_NAME": "web",
                    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                    "AWS_REGION": "eu-central-1",
                    "FLASK_APP": f"{package}.wsgi",
                    "HOME": "/nonexistent",
                    "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": str(project / "src"),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **variables,
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            yield runtime
        finally:
            if runtime.process:
                stop(runtime.process, signal.SIGKILL)
            runtime.shutdown()
            thread.join()
