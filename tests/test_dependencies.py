"""Tests of the use of dependencies: private and undocumented attributes are listed, and old releases work."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.matrix import FULL, parametrize_combinations
from tests.test_source import MODULES, PACKAGE, relative_name

# Private attributes of dependencies: the module that uses each, and its definition. No decision about security or
# caching may depend on them.
PRIVATE_ATTRIBUTES = {
    "auth/accounts/mails.py: _get_current_object": "werkzeug.local:LocalProxy._get_current_object",
    "database/autogenerate.py: _repr_type": "alembic.autogenerate.render:_repr_type",
    "database/mysql.py: _execute_command": "pymysql.connections:Connection._execute_command",
    "database/psycopg_connections.py: _connect_gen": "psycopg:Connection._connect_gen",
    "database/psycopg_connections.py: _start_query": "psycopg:Connection._start_query",
    "database/timeouts.py: _timeout": "sqlalchemy.pool:QueuePool.timeout",
    "hooks.py: _get_current_object": "werkzeug.local:LocalProxy._get_current_object",
    "monitoring/otlp/log_exporter.py: _log_exporter": (
        "opentelemetry.exporter.otlp.proto.http._log_exporter:OTLPLogExporter"
    ),
    "monitoring/otlp/log_exporter.py: _logs": "opentelemetry._logs:LogRecord",
    "monitoring/otlp/sdk.py: _batch_processor": "opentelemetry.sdk._shared_internal:BatchProcessor.shutdown",
    "monitoring/prometheus/shared_files.py: _buckets": "prometheus_client:Histogram._metric_init",
    "monitoring/prometheus/shared_files.py: _sum": "prometheus_client:Histogram._metric_init",
    "monitoring/prometheus/shared_files.py: _upper_bounds": "prometheus_client:Histogram._prepare_buckets",
    "monitoring/prometheus/shared_files.py: _value": "prometheus_client:Gauge._metric_init",
    "responses.py: _on_close": "werkzeug.wrappers:Response.call_on_close",
    "tasks/celery_redis_results.py: _get_result_meta": "celery.backends.base:Backend._get_result_meta",
    "tasks/celery_redis_results.py: _store_result": "celery.backends.base:KeyValueStoreBackend._store_result",
    "tasks/celery_results.py: _filename": "celery.backends.filesystem:FilesystemBackend._filename",
    "tasks/celery_redis_transport.py: _brpop_read": "kombu.transport.redis:Channel._brpop_read",
    "tasks/celery_redis_transport.py: _brpop_start": "kombu.transport.redis:Channel._brpop_start",
    "tasks/celery_redis_transport.py: _do_restore_message": "kombu.transport.redis:Channel._do_restore_message",
    "tasks/celery_redis_transport.py: _get": "kombu.transport.redis:Channel._get",
    "tasks/celery_redis_transport.py: _get_message_priority": "kombu.transport.redis:Channel._get_message_priority",
    "tasks/celery_redis_transport.py: _lookup": "kombu.transport.virtual:Channel._lookup",
    "tasks/celery_redis_transport.py: _q_for_pri": "kombu.transport.redis:Channel._q_for_pri",
    "tasks/celery_redis_transport.py: _queue_cycle": "kombu.transport.redis:Channel._update_queue_cycle",
    "tasks/rq_worker.py: _execute": "rq.job:Job._execute",
    "tasks/rq_worker.py: _get_current_object": "werkzeug.local:LocalProxy._get_current_object",
    "url_rules.py: _build": "werkzeug.routing:Rule._compile_builder",
    "url_rules.py: _build_unknown": "werkzeug.routing:Rule._compile_builder",
    "url_rules.py: _compile_builder": "werkzeug.routing:Rule._compile_builder",
}
# Attributes with public names and little or no documentation, which projects call or override.
UNDOCUMENTED = [
    "celery.app.backends:by_url",
    "celery.app.base:Celery.connection_for_write",
    "celery.backends.base:KeyValueStoreBackend.task_keyprefix",
    "celery.backends.redis:RedisBackend.ensure",
    "celery.beat:Scheduler.apply_entry",
    "celery.beat:Service.start",
    "flask.app:Flask.url_for",
    "flask.sessions:SecureCookieSessionInterface.get_signing_serializer",
    "flask.sessions:SessionMixin.accessed",
    "redis.connection:Connection.read_response",
    "redis.connection:Connection.send_command",
    "redis.connection:ConnectionPool.make_connection",
    "rq.cron:CronScheduler.enqueue_jobs",
    "rq.executions:Execution.composite_key",
    "rq.executions:Execution.from_composite_key",
    "rq.job:Job.prepare_for_execution",
    "rq.job:Job.save_meta",
    "rq.queue:Queue.lpop",
    "rq.worker:Worker.execute_job",
    "rq.worker:Worker.execution",
    "rq.worker:Worker.fork_work_horse",
    "rq.worker:Worker.get_heartbeat_ttl",
    "rq.worker:Worker.handle_exception",
    "rq.worker:Worker.handle_work_horse_killed",
    "rq.worker:Worker.heartbeat",
    "rq.worker:Worker.horse_pid",
    "rq.worker:Worker.is_horse",
    "rq.worker:Worker.perform_job",
    "rq.worker:Worker.prepare_job_execution",
    "rq.worker:Worker.request_stop",
    "rq.worker:Worker.set_state",
    "rq.worker:Worker.teardown",
    "rq.worker:Worker.wait_for_horse",
    "spectree.metadata:FunctionDecorator.parse_request",
    "spectree.response:Response.generate_spec",
    "werkzeug.sansio.utils:host_is_trusted",
]
# Documented names with an underscore: methods of named tuples, of `sys` and `os`, an argument of `url_for`, and the key
# of documents in MongoDB.
DOCUMENTED = {"_asdict", "_current_frames", "_exit", "_external", "_fields", "_id", "_make", "_replace"}
PRIVATE_NAME = re.compile(r"_[a-z]\w*")

# The oldest releases that Flask's requirements allow, and the oldest Flask that closes streamed responses.
OLDEST = [
    "flask==3.1.2",
    "werkzeug==3.1.0",
    "click==8.1.3",
    "itsdangerous==2.2.0",
    "jinja2==3.1.2",
    "blinker==1.9.0",
]

# Prints each name that does not exist.
RESOLVE = """
import importlib
import sys

for name in sys.argv[1:]:
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(found, part):
            print(name)
            break
        found = getattr(found, part)
"""


def find_private_attributes(text: str) -> Iterator[str]:
    """Yield the private attributes of other modules that a module uses or overrides.

    A use is an attribute access, a string, an import, or a method of a class with a base.
    """
    tree = ast.parse(text)
    # Attributes that the module sets are its own. Its functions and variables are used without a dot.
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    # Methods of a class without a base are its own, too.
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.bases]
    own |= {line.name for node in classes for line in node.body if isinstance(line, ast.FunctionDef)}
    strings: set[str] = set()
    fstring_parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in {*ast.walk(tree)} - fstring_parts:
        if isinstance(node, ast.Attribute) and PRIVATE_NAME.fullmatch(node.attr) and node.attr not in own | DOCUMENTED:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PRIVATE_NAME.fullmatch(node.value):
            strings.add(node.value)
        elif isinstance(node, ast.ImportFrom):
            parts = f"{node.module or ''}.{'.'.join(name.name for name in node.names)}".split(".")
            yield from (part for part in parts if PRIVATE_NAME.fullmatch(part))
        elif isinstance(node, ast.ClassDef) and node.bases:
            methods = (line.name for line in node.body if isinstance(line, ast.FunctionDef))
            yield from (name for name in methods if PRIVATE_NAME.fullmatch(name))
    yield from strings - DOCUMENTED


def test_private_attributes_are_listed() -> None:
    """The list has exactly the attributes that modules use, and each use has a comment with the reason."""
    used: set[str] = set()
    for path in MODULES:
        if not path.is_relative_to(PACKAGE / "core"):
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for name in {*find_private_attributes(text)}:
            used.add(f"{path.relative_to(PACKAGE / 'core')}: {name}")
            lines_above = [above.lstrip() for above, line in pairwise(["", *lines]) if name in line]
            assert any(line.startswith("#") for line in lines_above), (
                f"{relative_name(path)}: add a comment on the use of {name}"
            )
    assert used == PRIVATE_ATTRIBUTES.keys()


@pytest.mark.parametrize(
    "code",
    [
        "x = request_ctx._session",
        "getattr(request_ctx, '_session')",
        "vars(openapi).pop('_spec')",
        "from flask.ctx import _session",
        "from flask._internal import session",
        "class OwnSession(Session):\n    def _session(self): ...",
    ],
)
def test_private_attributes_are_found(code: str) -> None:
    """The search finds each kind of use."""
    assert len([*find_private_attributes(code)]) == 1


def test_listed_attributes_exist(venv_bin: Path, run: Run, tmp_path: Path) -> None:
    """The pinned releases have all listed attributes, so an upgrade that removes one fails here."""
    result = run(venv_bin / "python", "-c", RESOLVE, *PRIVATE_ATTRIBUTES.values(), *UNDOCUMENTED, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""


@parametrize_combinations([FULL])
def test_oldest_flask_release_works(project_with_core_tests: Path, venv_bin: Path, run: Run, tmp_path: Path) -> None:
    """All tests of the full project succeed with the oldest releases of Flask and its dependencies."""
    uv = Path(sys.executable).with_name("uv")
    arguments = ["--quiet", "pip", "install", "--no-deps", "--python", str(venv_bin / "python")]
    subprocess.run([uv, *arguments, "--target", tmp_path / "oldest", *OLDEST], check=True)
    result = run(
        venv_bin / "python",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        cwd=project_with_core_tests,
        PYTHONPATH=f"{tmp_path / 'oldest'}:src",
    )
    assert result.returncode == 0, result.stdout + result.stderr
