"""A private container engine, run as root: podman with its own storage, and Compose as its client.

No image registry is contacted. The images that projects name are built from Debian packages: see `fake_images/`.
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGTERM
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.deployed_project import JWKS, PRODUCTION_SETTINGS
from tests.matrix import TEMPLATE
from tests.services import TIMEOUT, free_port, program, stop, wait_until

FAKE_IMAGES = Path(__file__).parent / "fake_images"
# Root file systems by name: the Debian release and its packages. The servers come from the next release, which has the
# versions that projects use.
ROOT_FILE_SYSTEMS = {
    "python": ("trixie", ["ca-certificates", "python3", "python3-pip", "python3-venv"]),
    "servers": (
        "forky",
        [
            *("apache2", "ca-certificates", "gettext-base", "mariadb-server", "memcached", "nginx", "postgresql"),
            *("rabbitmq-server", "redis-server"),
        ],
    ),
    # A bare server, of the oldest release that docs/deployment.md names.
    "machine": ("bookworm", ["ca-certificates", "dbus", "openssh-server", "systemd", "systemd-sysv"]),
}
IMAGES = ("python", "servers")
DATA_FOLDERS = ["var/lib/mysql", "var/lib/mariadb", "var/lib/postgresql"]
EXCLUDED_PATHS = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"]
# crun does not support hybrid control groups, and systemd may be missing.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
PLUGINS = [Path(f"/usr/{folder}/docker/cli-plugins") for folder in ("local/lib", "local/libexec", "lib", "libexec")]


def compose_program() -> Path:
    """Return the path of the Compose 2 plug-in of Docker, or skip the test."""
    for folder in PLUGINS:
        if (folder / "docker-compose").exists():
            return folder / "docker-compose"
    pytest.skip(f"docker-compose 2 is in none of {', '.join(map(str, PLUGINS))}")


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        """Set the path of the socket."""
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Engine:
    """podman with its own storage."""

    def __init__(self, folder: Path) -> None:
        """Find the programs and write the configuration."""
        self.folder = folder
        self.socket = folder / "socket"
        (folder / "containers.conf").write_text(CONFIGURATION)
        place = f"{os.environ['PATH']}:/usr/sbin:/usr/lib/podman:/usr/libexec/podman"
        needed = ("aardvark-dns", "catatonit", "iptables", "mmdebstrap", "netavark", "runc")
        found = {name: shutil.which(name, path=place) or program(name, name) for name in needed}
        self.init = found["catatonit"]
        own = {"root": "root", "runroot": "run", "network-config-dir": "networks"}
        options = [f"--{option}={folder / name}" for option, name in own.items()]
        self.command: list[str | Path] = [program("podman", "podman"), *options]
        inherited = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        # Registries that tests start have no TLS.
        (folder / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
        self.env = {
            **inherited,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "TMPDIR": str(folder),
        }
        self.built: set[str] = set()

    def try_podman(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a podman command, whether it succeeds or not."""
        command = [str(word) for word in (*self.command, *words)]
        return subprocess.run(command, check=False, env=self.env, cwd="/", capture_output=True, text=True, timeout=600)

    def podman(self, *words: str | Path) -> str:
        """Run a podman command that must succeed, and return its output."""
        result = self.try_podman(*words)
        assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
        return result.stdout.strip()

    def get(self, path: str) -> bytes:
        """Return the response of podman's API; empty if it fails."""
        with closing(UnixConnection(self.socket)) as connection, suppress(OSError, http.client.HTTPException):
            connection.request("GET", f"/v4.0.0/libpod/{path}")
            response = connection.getresponse()
            content = response.read()
            if response.status == 200:
                return content
        return b""

    def import_roots(self, cache: Path) -> None:
        """Create the root file systems that are missing in the cache, and import them."""
        with ThreadPoolExecutor(len(IMAGES)) as pool:
            roots = pool.map(lambda name: create_root(cache, name), IMAGES)
        for name, root in zip(IMAGES, roots, strict=True):
            self.podman("import", "--quiet", root, f"localhost/debian-{name}")

    def probe(self) -> None:
        """Skip the test on machines that cannot run containers, such as some that are containers themselves."""
        tar = self.folder / "probe.tar"
        with tarfile.open(tar, "w") as layer:
            layer.add(self.init, "init")  # linked statically
        limits = ["--network=probe", "--read-only", "--memory=64m", "--cpus=1", "--pids-limit=9"]
        for words in (
            ["import", "--quiet", tar, "localhost/probe"],
            ["network", "create", "probe"],
            ["run", "--rm", *limits, "localhost/probe", "/init", "--version"],
        ):
            result = self.try_podman(*words)
            if result.returncode:
                pytest.skip(f"this machine runs no containers: {result.stderr.strip().splitlines()[-1]}")

    def build_fake_image(self, image: str) -> None:
        """Build and tag a fake of an official image, such as postgres:18."""
        name = image.partition(":")[0]
        target = name.rpartition("/")[2]
        if target not in self.built:
            context = self.folder / "fake_images"
            shutil.copytree(FAKE_IMAGES, context, dirs_exist_ok=True)
            shutil.copy2(
                os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), context / "ca-certificates.crt"
            )
            squash = ["--squash-all"] if target == "python" else []
            self.build(context, target, f"localhost/fake-{target}", *squash)
            self.built.add(target)
        self.podman(
            "tag", f"localhost/fake-{target}", f"docker.io/{image}" if "/" in name else f"docker.io/library/{image}"
        )

    def build(self, context: Path, target: str, tag: str, *words: str) -> None:
        """Build an image."""
        options = ["--network=host", "--format=docker", f"--target={target}", f"--tag={tag}"]
        self.podman("build", "--quiet", *options, *words, context)

    def size(self, image: str) -> int:
        """Return the size of an image in bytes."""
        return int(self.podman("image", "inspect", "--format", "{{.Size}}", image))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve Docker's API for Compose, and run health checks, which podman leaves to systemd."""
        done = Event()

        def check_health() -> None:
            # Skip healthy containers: running a check costs more than it is worth. So does starting podman twice a
            # second for as long as tests with containers run.
            unknown = quote(json.dumps({"health": ["starting", "unhealthy"]}))
            with ThreadPoolExecutor(4) as pool:
                while not done.wait(0.5):
                    unhealthy = [
                        one["Id"] for one in json.loads(self.get(f"containers/json?filters={unknown}") or "[]")
                    ]
                    list(pool.map(lambda one: self.get(f"containers/{one}/healthcheck"), unhealthy))

        words = [*self.command, "system", "service", "--time=0", f"unix://{self.socket}"]
        with (self.folder / "service.log").open("wb") as log:
            service = subprocess.Popen(words, env=self.env, cwd="/", stdout=log, stderr=log, start_new_session=True)
        checker = Thread(target=check_health)
        checker.start()
        try:
            wait_until(self.socket.exists, service)
            yield
        finally:
            done.set()
            checker.join()
            stop(service, SIGTERM)

    def clean(self) -> None:
        """Delete all containers, volumes, networks and images."""
        for words in (
            ["rm", "--all", "--force", "--time=0"],
            ["volume", "prune", "--force"],
            ["network", "prune", "-f"],
        ):
            self.try_podman(*words)
        subprocess.run(["umount", "--lazy", self.folder / "root" / "overlay"], check=False, capture_output=True)
        # The storage has about 100,000 files, so it is deleted in the background.
        deleted = (self.folder / "root").rename(self.folder.with_suffix(".deleted"))
        subprocess.run(["sh", "-c", 'nice rm -rf "$0" >/dev/null 2>&1 &', deleted], check=True)


def create_root(cache: Path, name: str) -> Path:
    """Create a root file system from Debian packages, unless it is cached."""
    release, packages = ROOT_FILE_SYSTEMS[name]
    tar = cache / f"{name}-{release}.tar"
    if not tar.exists():
        new = tar.with_suffix(".new.tar")
        options = [
            *('--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Check-Valid-Until "false"'),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED_PATHS),
        ]
        # Delete data that packages created.
        hook = f'--customize-hook=cd "$1" && rm -rf {" ".join(DATA_FOLDERS)}'
        what = ["--variant=minbase", "--components=main", f"--include={','.join(packages)}", hook]
        # Without a URL, as on Ubuntu, mmdebstrap uses Debian's own archive.
        mirror = subprocess.run(
            [TEMPLATE / ".ci" / "mirror"], check=True, capture_output=True, text=True
        ).stdout.split()
        words = [program("mmdebstrap", "mmdebstrap"), *options, *what, release, new, *mirror]
        built = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        new.rename(tar)
    return tar


@contextmanager
def private_engine(cache: Path) -> Iterator[Engine]:
    """Provide a container engine within a `with` block."""
    # Not pytest's folder: the path of a socket must be short, and images are large.
    with tempfile.TemporaryDirectory(prefix="box-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder))
        try:
            engine.probe()
            engine.import_roots(cache)
            with engine.serving():
                yield engine
        finally:
            engine.clean()


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Provide a container engine for the whole test session. Its tests are in the xdist group `containers`."""
    if os.geteuid() != 0:
        pytest.skip("containers take root: sudo make test ARGS=tests/test_containers.py")
    assert request.config.cache
    with private_engine(Path(request.config.cache.mkdir("containers"))) as engine:
        yield engine


class Project:
    """A project in containers."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Read compose.yaml and write an override for podman."""
        self.engine, self.folder = engine, folder
        self.compose_file = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
        self.name: str = self.compose_file["name"]
        # Without those of a profile, which is off by default.
        services: dict[str, Any] = self.compose_file["services"]
        self.services = {name: service for name, service in services.items() if "profiles" not in service}
        self.port = free_port()
        self.site = f"http://localhost:{self.port}"
        # podman's DNS server is on the gateway address and is unresponsive for a while when containers start and stop.
        # The range 198.18.0.0/15 is for benchmarks: neither podman nor a company network assigns it.
        # A separate network per engine is required: two engines on a machine would take the same one and query each
        # other's DNS server.
        networks = {
            name: f"198.{18 + number}.{self.port % 256}" for number, name in enumerate(self.compose_file["networks"])
        }
        override: dict[str, Any] = {
            "services": {name: {"dns_opt": ["timeout:1"]} for name in self.services},
            "networks": {
                name: {"ipam": {"config": [{"subnet": f"{network}.0/24", "gateway": f"{network}.1"}]}}
                for name, network in networks.items()
            },
        }
        # All clients of a test have the same IP address, so the limits per client are raised.
        if "proxy" in self.services:
            override["services"]["proxy"]["environment"] = {"CONNECTIONS": "1000", "RATE_LIMIT_BURST": "1000"}
        override["services"]["web"]["environment"] = {"RATE_LIMIT_WRITES": "1000/minute", "RATE_LIMIT": "1000/second"}
        if "JWT_JWKS_URL" in self.services["web"]["environment"]:
            override["services"]["web"]["volumes"] = [f"{JWKS}:/jwks.json:ro"]
        self.override = folder.parent / "compose.podman.yaml"
        self.override.write_text(yaml.safe_dump(override))
        self.env = {
            **engine.env,
            "JWT_ISSUER": PRODUCTION_SETTINGS["JWT_ISSUER"],
            "JWT_AUDIENCE": PRODUCTION_SETTINGS["JWT_AUDIENCE"],
            "JWT_JWKS_URL": "file:///jwks.json",
            "OIDC_ISSUER": PRODUCTION_SETTINGS["OIDC_ISSUER"],
            "OIDC_CLIENT_ID": PRODUCTION_SETTINGS["OIDC_CLIENT_ID"],
            "DOCKER_HOST": f"unix://{engine.socket}",
            "PUBLISHED_PORT": str(self.port),
            "RESOLVERS": f"{networks['front']}.1",
        }

    def build(self, *, with_servers: bool = True) -> None:
        """Lock the dependencies and build the images with podman, since Compose would need BuildKit."""
        uv = Path(sys.executable).with_name("uv")
        words = [uv, "lock", "--quiet", "--python", sys.executable]
        subprocess.run(list(map(str, words)), check=True, cwd=self.folder)
        dockerfile = (self.folder / "Dockerfile").read_text(encoding="utf-8")
        images = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
        if with_servers:
            images += [service["image"] for service in self.services.values() if "build" not in service]
        for image in sorted({image for image in images if ":" in image}):
            self.engine.build_fake_image(image)
        self.images = {
            name: f"docker.io/library/{service['image'].partition(':')[0]}:latest"
            for name, service in self.services.items()
            if "build" in service
        }
        for name in sorted({"proxy", "web"} & self.services.keys()):
            self.engine.build(self.folder, name, self.images[name])

    def compose(self, *words: str, files: tuple[str, ...] = ("compose.yaml",)) -> str:
        """Run a Compose command that must succeed, and return its output."""
        file_options = [part for file in (*files, str(self.override)) for part in ("--file", file)]
        result = subprocess.run(
            [compose_program(), *file_options, *words],
            check=False,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        assert result.returncode == 0, f"{words}\n{result.stdout}\n{self.logs()}"
        return result.stdout

    def logs(self) -> str:
        """Return the logs of all containers."""
        return "\n".join(f"{name}: {self.log(name)}" for name in self.containers())

    def log(self, container: str) -> str:
        """Return the last 20,000 characters of a container's log."""
        result = self.engine.try_podman("logs", container)
        return (result.stdout + result.stderr)[-20_000:]

    def containers(self, service: str = "") -> list[str]:
        """Return the names of the containers of a service, or of all services."""
        label = f"label=com.docker.compose.service={service}" if service else "label=com.docker.compose.project"
        return sorted(self.engine.podman("ps", "--all", "--filter", label, "--format", "{{.Names}}").split())

    def state(self, container: str) -> dict[str, Any]:
        """Return the state of a container as the engine reports it."""
        state: dict[str, Any] = json.loads(self.engine.podman("inspect", container))[0]["State"]
        return state

    def killed(self) -> dict[str, tuple[str, int]]:
        """Return for each container its start time and the number of its processes that the OOM killer ended."""
        found = {}
        for container in self.containers():
            group = f"*{self.engine.podman('inspect', '--format', '{{.Id}}', container)}*"
            files = [
                path
                for name in ("memory.events", "memory.oom_control")
                for path in Path("/sys/fs/cgroup").rglob(f"{group}/{name}")
            ]
            kills = [int(number) for path in files for number in re.findall(r"(?m)^oom_kill (\d+)", path.read_text())]
            found[container] = (self.state(container)["StartedAt"], max(kills, default=0))
        return found

    def health(self, container: str) -> tuple[list[str], list[str], str]:
        """Return a container's health check command, its environment variables, and its image."""
        inspected = json.loads(self.engine.podman("inspect", container))[0]
        kind, *words = inspected["Config"]["Healthcheck"]["Test"]
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words, inspected["Config"]["Env"], inspected["Image"]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run `docker compose up` within a `with` block."""
        try:
            self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(2 * TIMEOUT))
            yield
        except BaseException:
            print(self.logs())
            raise
        finally:
            self.compose("--profile", "*", "down", "--volumes", "--timeout", "2", "--remove-orphans")
