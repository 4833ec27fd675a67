"""Worst-case memory and disk of each container, computed from the rendered files and compared with compose.yaml.

Each function below returns the sizes in MiB of the parts of one kind of container. Settings are read from the files;
the other requirements of programs were measured. `docs/capacity.md` of a project explains both to its owner.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.matrix import COMBINATIONS, Combination, Value, parametrize_combinations

Parts = dict[str, float]

KIB = 1 / 1024
UNLIMITED = math.inf
MARGIN = 0.9  # the worst case may take this fraction of a limit
MAX_NEW_URLS = 1000  # per second: more than two CPUs can handle
DISK = 3 * 1024  # MiB that the proxy may write, as documented in docs/capacity.md

# Measured: MiB of a Python process with the application, alone and as a forked child.
PYTHON, CHILD = 90, 90
# Memory of the parsed objects per byte of JSON in the worst case: 1 MB of "[]," takes 22 MB.
OBJECTS = 25
# Measured: memory of Redis divided by `maxmemory` when the sizes of values change (385 / 256).
FRAGMENTATION = 1.55
# Measured: zlib of nginx with its defaults, an idle TLS connection, and a brotli compressor by quality and window.
GZIP, TLS = 270 * KIB, 48 * KIB
BROTLI = {("3", "16"): 460 * KIB, ("4", "18"): 850 * KIB}


def mib(text: str) -> float:
    """Return a size in MiB; the notation is that of Compose, nginx, databases or Redis, a bare number is in bytes."""
    number, unit = re.fullmatch(r"([\d.]+)\s*([kmg]?)i?b?", text.lower()).groups()  # type: ignore[union-attr]
    return float(number) * {"": KIB * KIB, "k": KIB, "m": 1, "g": 1024}[unit]


class Files:
    """The configuration files of a project, as text without comments."""

    def __init__(self, project: Path) -> None:
        """Read the files that contain limits."""
        compose = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
        # Without those of a profile, which is off by default.
        services: dict[str, dict[str, Any]] = compose["services"]
        self.services = {name: service for name, service in services.items() if "profiles" not in service}
        paths = [
            *project.glob("deploy/**/*"),
            *project.glob("src/*/config.py"),
            *project.glob("src/*/core/request_body.py"),
        ]
        texts = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
        self.text = re.sub(r"(?m)^\s*[#;].*\n", "", "\n".join(texts))

    def find(self, pattern: str, default: str | None = None) -> str:
        """Return the group of the pattern's only match."""
        found = set(re.findall(pattern, self.text, re.MULTILINE))
        assert len(found) == 1 or (not found and default is not None), (pattern, found)
        return str(found.pop()) if found else str(default)

    def buffers(self, directive: str, default: str) -> float:
        """Return number times size of nginx's buffers, in MiB."""
        number, size = self.find(rf"^\s*{directive} (\d+ \w+);", default).split()
        return int(number) * mib(size)

    def setting(self, name: str) -> float:
        """Return the default of a setting: a number or a product."""
        return math.prod(map(float, self.find(rf"^    {name}: .* = (?:msgspec.*|([\d. *]+))$").split("*")))

    def limit(self, service: str) -> float:
        """Return the memory limit of a service in MiB."""
        return mib(self.services[service]["deploy"]["resources"]["limits"]["memory"])

    def tmpfs(self, service: str) -> float:
        """Return the sizes of a service's tmpfs mounts in MiB; they count as memory."""
        mounts = self.services[service].get("tmpfs", [])
        return sum(mib(size[1]) if (size := re.search(r"size=(\w+)", mount)) else UNLIMITED for mount in mounts)

    def option(self, service: str, name: str) -> str:
        """Return the value of an option in a service's command or environment."""
        command = str(self.services[service].get("command", "")) + str(self.services[service].get("environment", ""))
        found = re.search(rf"{name}[ =](\w[\w.]*)", command)
        assert found, (service, name)
        return found[1]


def nginx_memory(files: Files) -> Parts:
    """Return the memory of connections that have sent their headers, some of which are requests in progress."""
    processes = int(files.find(r"^worker_processes (\d+);", "64"))  # `auto`: one per CPU
    connections = processes * int(files.find(r"worker_connections (\d+);"))
    requests = int(files.find(r"limit_conn requests_in_progress (\d+);", str(connections)))
    headers = files.buffers("large_client_header_buffers", "4 8k")
    response = mib(files.find(r"_buffer_size (8k);")) + files.buffers(r"\w+(?<!gzip)(?<!header)_buffers", "8 8k")
    body = mib(files.find(r"client_body_buffer_size (\w+);", "16k"))
    compression = GZIP + files.buffers("gzip_buffers", "32 4k")
    zones = re.findall(r"(?:zone=\w+:|shared:\w+:)(\w+)", files.text)
    return {
        "processes": (processes + 3) * 6,
        "shared zones": sum(map(mib, zones)),
        "connections": connections * (3 * KIB + headers + TLS),
        "requests in progress": requests * (body + response + compression),
    }


def nginx_disk(files: Files) -> Parts:
    """Return the disk usage of cached responses and of the bodies of requests and responses in progress."""
    processes = int(files.find(r"^worker_processes (\d+);", "64"))
    connections = processes * int(files.find(r"worker_connections (\d+);"))
    requests = int(files.find(r"limit_conn requests_in_progress (\d+);", str(connections)))
    largest = mib(files.find(r"_max_temp_file_size (\w+);", "1024m"))
    cached = [mib(size) for size in re.findall(r"max_size=(\w+)", files.text)]
    return {
        # The cache manager deletes the oldest files every ten seconds.
        "cached responses": 2 * sum(cached),
        "bodies of requests": requests * mib(files.find(r"^MAX_CONTENT_LENGTH=(\d+)$")),
        "bodies of responses": requests * largest,
    }


def apache_memory(files: Files) -> Parts:
    """Return the memory of threads, each of which buffers a part of a body or compresses a response."""
    children = int(files.find(r"^ServerLimit (\d+)"))
    threads = int(files.find(r"^MaxRequestWorkers (\d+)")) + children * http2_threads(files)
    buffer = files.find(r"BufferSize (\S+)")
    piece = mib(files.find(r"^MAX_CONTENT_LENGTH=(\d+)$") if buffer.startswith("$") else buffer)
    brotli = BROTLI[files.find(r"^BrotliCompressionQuality (\d+)"), files.find(r"^BrotliCompressionWindow (\d+)", "18")]
    retained = int(files.find(r"^MaxMemFree (\d+)", "2048")) * KIB
    return {
        "processes": (children + 1) * 8,
        "threads": threads * (40 * KIB + retained + max(piece, brotli)),
    }


def http2_threads(files: Files) -> int:
    """Return the number of threads that mod_http2 may start in each child process of Apache."""
    return int(files.find(r"^H2MaxWorkers (\d+)", str(int(files.find(r"^ThreadsPerChild (\d+)")) * 3 // 2)))


def web_memory(files: Files) -> Parts:
    """Return the memory of requests: their bodies and the objects parsed from them."""
    processes = math.ceil(float(files.services["web"]["deploy"]["resources"]["limits"]["cpus"]))
    threads = files.setting("WEB_THREADS")
    body = files.setting("MAX_CONTENT_LENGTH") * KIB * KIB
    parts = {
        "main process": PYTHON,
        "processes": processes * CHILD,
        "requests": processes * threads * body * OBJECTS,
        "a command (docker compose exec)": PYTHON,
    }
    if 'or "gevent"' in files.text:
        # Greenlets: one request per process is parsed at a time; the others wait for the rest of their bodies.
        connections = int(files.find(r"^worker_connections = .*?(\d+)(?: if .*)?$"))
        waiting = int(files.find(r"^MAX_BYTES_IN_PROGRESS = (\d+) \* 1024 \* 1024$", str(int(connections * body))))
        parts["requests"] = processes * (body * OBJECTS * 2 + waiting * 2 + connections * 80 * KIB)
    return parts


def worker_memory(files: Files) -> Parts:
    """Return the memory of jobs: each process may run one and use its memory limit."""
    celery = "WORKER_CONCURRENCY" in files.text
    job = files.setting("WORKER_MAX_MEMORY_MB") if celery else 1024
    return {
        "main process": PYTHON,
        "jobs": job * (files.setting("WORKER_CONCURRENCY") if celery else 1),
        "health check": PYTHON,
    }


def scheduler_memory(_: Files) -> Parts:
    """Return the memory of the scheduler and its health check."""
    return {"scheduler": PYTHON, "health check": PYTHON}


def migrate_memory(_: Files) -> Parts:
    """Return the memory of the migration command."""
    return {"alembic upgrade": PYTHON + 20}


def postgresql_memory(files: Files) -> Parts:
    """Return shared buffers, and per connection a process and work_mem for each of two sorts or joins."""

    def option(name: str, default: str) -> str:
        command = str(files.services["database"].get("command", ""))
        found = re.search(rf"--{name}=(\w+)", command)
        return found[1] if found else default

    work = mib(option("work_mem", "4MB"))
    maintenance = mib(option("maintenance_work_mem", "64MB"))
    vacuum = option("autovacuum_work_mem", "")
    parallel = int(option("max_parallel_workers_per_gather", "2"))
    return {
        "shared buffers": mib(option("shared_buffers", "128MB")),
        "background processes": 50,
        "connections": int(option("max_connections", "100")) * (6 + 2 * work),
        "parallel queries": min(parallel, 1) * 8 * (6 + 2 * work) + min(parallel, 1) * 64,
        "autovacuum": 3 * (mib(vacuum) if vacuum else maintenance),
        "building an index": maintenance,
    }


def cassandra_memory(files: Files) -> Parts:
    """Return the heap, and what Java needs outside of it. It is not measured: there is no current server here."""
    heap = mib(files.services["database"]["environment"]["MAX_HEAP_SIZE"])
    return {"heap": heap, "buffers": heap, "classes, threads and server": 400, "health check": 80}


def mongodb_memory(files: Files) -> Parts:
    """Return the cache, the connections and one index that is built. It is not measured: there is no server here."""
    options = dict(re.findall(r"--(?:setParameter=)?(\w+)=([\d.]+)", str(files.services["database"]["command"])))
    return {
        "server": 250,
        "cache": 1024 * float(options["wiredTigerCacheSizeGB"]),
        "connections": float(options["maxConns"]),
        "sorting": 100,
        "building an index": float(options["maxIndexBuildMemoryUsageMegabytes"]),
    }


def mariadb_memory(files: Files) -> Parts:
    """Return the caches, and per connection the memory limit of a session and its thread."""

    def option(name: str, default: str) -> float:
        found = re.search(rf"--{name}=(\w+)", str(files.services["database"]["command"]))
        return mib(found[1] if found else default)

    return {
        "server": 60,
        # Measured with MariaDB 10.11: 96 MiB.
        "performance schema": 100 * ("--performance-schema=ON" in files.services["database"]["command"]),
        "caches": sum(
            option(name, default)
            for name, default in {
                "innodb-buffer-pool-size": "128M",
                "innodb-log-buffer-size": "16M",
                "aria-pagecache-buffer-size": "128M",
                "key-buffer-size": "128M",
            }.items()
        ),
        "connections": option("max-connections", "151") / KIB / KIB * (1 + option("max-session-mem-used", "64G")),
    }


def redis_memory(files: Files, service: str) -> Parts:
    """Return the fragmented values, and the copy of changed values while a fork rewrites the append-only file."""
    maxmemory = mib(files.option(service, "maxmemory"))
    appends = files.option(service, "appendonly") == "yes"
    return {"server": 10, "values": maxmemory * FRAGMENTATION, "rewriting the file": maxmemory * appends}


def memcached_memory(files: Files) -> Parts:
    """Return the items, the hash table while it grows, and the buffers of connections."""
    connections = int(files.option("cache", "--conn-limit"))
    return {
        "server": 10,
        "items": float(files.option("cache", "--memory-limit")),
        "table of keys": 36,
        "connections": connections * 24 * KIB,
    }


def rabbitmq_memory(files: Files) -> Parts:
    """Return the messages up to the watermark, plus half for garbage collection, and the VM of the health check."""
    memory = mib(files.option("broker", "total_memory_available_override_value"))
    watermark = float(files.option("broker", "vm_memory_high_watermark")) * memory
    log = 3 * mib(files.option("broker", "wal_max_size_bytes"))
    return {"messages": max(watermark * 1.5, log), "virtual machine": 100, "health check": 100}


BY_SERVICE: dict[str, Callable[[Files], Parts]] = {
    "web": web_memory,
    "worker": worker_memory,
    "scheduler": scheduler_memory,
    "migrate": migrate_memory,
}
BY_IMAGE: dict[str, Callable[[Files], Parts]] = {
    "cassandra": cassandra_memory,
    "mariadb": mariadb_memory,
    "memcached": memcached_memory,
    "mongo": mongodb_memory,
    "postgres": postgresql_memory,
    "rabbitmq": rabbitmq_memory,
}
PROXIES: dict[Value, Callable[[Files], Parts]] = {"apache": apache_memory, "nginx": nginx_memory}


def worst_memory(combination: Combination, files: Files, service: str) -> Parts:
    """Return the parts of a container's memory, including its tmpfs."""
    image = files.services[service]["image"].partition(":")[0]
    if service == "proxy":
        parts = PROXIES[combination.options["reverse_proxy"]](files)
    elif image == "redis":
        parts = redis_memory(files, service)
    else:
        parts = (BY_SERVICE | BY_IMAGE)[service if service in BY_SERVICE else image](files)
    return {**parts, "tmpfs": files.tmpfs(service)}


def explain(service: str, parts: Parts, limit: float) -> str:
    """Format the parts and their sum as a table."""
    lines = [f"{size:8.0f}  {name}" for name, size in parts.items()]
    return "\n".join([f"{service}: {limit:.0f} MiB", *lines, f"{sum(parts.values()):8.0f}  total"])


@parametrize_combinations()
def test_worst_case_fits_memory_limits(combination: Combination, project: Path) -> None:
    """Caches, buffers, bodies, processes and tmpfs of each container together fit its limit, with a margin."""
    files = Files(project)
    for service in files.services:
        parts, limit = worst_memory(combination, files, service), files.limit(service)
        table = explain(service, parts, limit)
        print(table)
        assert sum(parts.values()) <= MARGIN * limit, table


@parametrize_combinations()
def test_cache_key_zone_is_large_enough(combination: Combination, project: Path) -> None:
    """Nginx stores a key per URL for a while, cached or not, and responds with 500 when the zone is full."""
    text = Files(project).text
    found = re.findall(r"keys_zone=\w+:(\d+)m .*inactive=(\d+)m", text)
    assert len(found) == ((combination.options["reverse_proxy"], combination.options["cdn"]) == ("nginx", "none"))
    assert all(int(zone) * 8000 / (int(minutes) * 60) > MAX_NEW_URLS for zone, minutes in found), found


@parametrize_combinations(
    [combination for combination in COMBINATIONS if combination.options["reverse_proxy"] == "apache"]
)
def test_apache_threads_fit_pids_limit(project: Path) -> None:
    """The kernel counts threads as processes; a child of Apache ends if it cannot create one."""
    files = Files(project)
    child = int(files.find(r"^ThreadsPerChild (\d+)")) + http2_threads(files) + 3
    pids = files.services["proxy"]["deploy"]["resources"]["limits"]["pids"]
    assert int(files.find(r"^ServerLimit (\d+)")) * child + 20 < pids


@parametrize_combinations()
def test_limits_are_documented(project: Path) -> None:
    """docs/capacity.md has a line with the limit of each container, except `migrate`, which ends."""
    files = Files(project)
    page = (project / "docs" / "capacity.md").read_text(encoding="utf-8")
    documented = {service: float(limit) for service, limit in re.findall(r"(?m)^\| `(\w+)` \| (\d+) \|", page)}
    assert documented == {service: files.limit(service) for service in files.services.keys() - {"migrate"}}


@parametrize_combinations()
def test_worst_case_of_proxy_fits_disk(combination: Combination, project: Path) -> None:
    """Nginx's temporary files and cache are limited and on a volume; Apache writes to a tmpfs."""
    files = Files(project)
    if combination.options["reverse_proxy"] == "nginx":
        parts = nginx_disk(files)
        table = explain("proxy", parts, DISK)
        print(table)
        assert sum(parts.values()) <= DISK, table
        assert files.services["proxy"]["volumes"] == ["proxy:/var/cache/nginx"]
    else:
        assert "volumes" not in files.services.get("proxy", {})


def test_size_notations_are_parsed() -> None:
    """Sizes are parsed in the units of each program, and a tmpfs without a size is unlimited."""
    assert [mib(text) for text in ("1048576", "64k", "64MB", "1G", "256mb", "1536M")] == [
        1,
        1 / 16,
        64,
        1024,
        256,
        1536,
    ]
    files = Files.__new__(Files)
    files.services = {"web": {"tmpfs": ["/data"]}, "proxy": {"tmpfs": ["/data:size=1m", "/run:size=2m"]}}
    assert (files.tmpfs("web"), files.tmpfs("proxy")) == (UNLIMITED, 3)
