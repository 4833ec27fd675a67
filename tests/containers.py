"""A private engine for containers, as root: podman with its own images, and Compose that speaks to it.

No registry of images is asked. Those that projects name are made from Debian's packages: stand-ins, see `stand_ins/`.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from threading import Event, Thread
from typing import Any, NoReturn

import pytest
import yaml

from tests.services import PATIENCE, free_port, program, stop, wait_until

STAND_INS = Path(__file__).parent / "stand_ins"
MIRROR = "http://deb.debian.org/debian"
# By the name of a root: the release, and its packages. Servers are of the one to come, which has their versions.
ROOTS = {
    "python": ("trixie", ["ca-certificates", "python3", "python3-pip", "python3-venv"]),
    "servers": (
        "forky",
        [
            *("apache2", "ca-certificates", "gettext-base", "mariadb-server", "memcached", "nginx", "postgresql"),
            *("rabbitmq-server", "redis-server"),
        ],
    ),
}
MADE = ["var/lib/mysql", "var/lib/mariadb", "var/lib/postgresql"]
BARE = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"]
# crun does not know hybrid control groups; there may be no systemd.
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
    """Compose, version 2, where Docker keeps its plug-ins; without it a laptop skips the test, and CI fails."""
    for folder in PLUGINS:
        if (folder / "docker-compose").exists():
            return folder / "docker-compose"
    why = os.environ.get("UNPROVED")
    message = f"docker-compose 2 is in none of {', '.join(map(str, PLUGINS))}"
    if os.environ.get("CI") and not why:
        pytest.fail(message)
    return unproved(why or message)


def unproved(why: str) -> NoReturn:
    """Skip, in a line that nobody takes for a proof."""
    pytest.skip(f"containers were NOT proved: {why}")


class Engine:
    """podman with its own storage."""

    def __init__(self, folder: Path) -> None:
        """Find its programs."""
        self.folder = folder
        self.socket = folder / "socket"
        (folder / "containers.conf").write_text(CONFIGURATION)
        place = f"{os.environ['PATH']}:/usr/sbin:/usr/lib/podman:/usr/libexec/podman"
        needed = ("runc", "netavark", "catatonit", "mmdebstrap")
        found = {name: shutil.which(name, path=place) or program(name, name) for name in needed}
        self.init = found["catatonit"]
        storage: list[str | Path] = ["--root", folder / "root", "--runroot", folder / "run"]
        self.command: list[str | Path] = [program("podman", "podman"), *storage]
        kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
        self.env = {**kept, "CONTAINERS_CONF": str(folder / "containers.conf"), "TMPDIR": str(folder)}
        self.built: set[str] = set()

    def try_podman(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of podman, whatever comes of it."""
        command = [str(word) for word in (*self.command, *words)]
        return subprocess.run(command, check=False, env=self.env, cwd="/", capture_output=True, text=True, timeout=600)

    def podman(self, *words: str | Path) -> str:
        """Run a command of podman, and return what it prints."""
        result = self.try_podman(*words)
        assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
        return result.stdout.strip()

    def import_roots(self, cache: Path) -> None:
        """Make the roots that are not in the cache yet, and import them."""
        with ThreadPoolExecutor(len(ROOTS)) as pool:
            roots = pool.map(lambda name: make_root(cache, name), ROOTS)
        for name, root in zip(ROOTS, roots, strict=True):
            self.podman("import", "--quiet", root, f"localhost/debian-{name}")

    def probe(self) -> None:
        """Skip all tests where nothing can be run: on a machine that is a container itself, perhaps."""
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
                unproved(f"this machine runs none: {result.stderr.strip()[-300:]}")

    def stand_in(self, image: str) -> None:
        """Have a stand-in for an official image, such as postgres:18."""
        target = image.partition(":")[0]
        if target not in self.built:
            context = self.folder / "stand_ins"
            shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
            shutil.copy2(
                os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"), context / "ca-certificates.crt"
            )
            squash = ["--squash-all"] if target == "python" else []
            self.build(context, target, f"localhost/stand-in-{target}", *squash)
            self.built.add(target)
        self.podman("tag", f"localhost/stand-in-{target}", f"docker.io/library/{image}")

    def build(self, context: Path, target: str, tag: str, *words: str) -> None:
        """Build an image."""
        options = ["--network=host", "--format=docker", f"--target={target}", f"--tag={tag}"]
        self.podman("build", "--quiet", *options, *words, context)

    def size(self, image: str) -> int:
        """Tell how large an image is, in bytes."""
        return int(self.podman("image", "inspect", "--format", "{{.Size}}", image))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Take Compose's requests, and check health, which podman leaves to systemd."""
        done = Event()

        def check_health() -> None:
            # Those that are healthy are left alone: a check costs more than what it checks.
            unknown = ["ps", "--quiet", "--filter", "health=starting", "--filter", "health=unhealthy"]
            with ThreadPoolExecutor(4) as pool:
                while not done.wait(0.5):
                    waiting = self.try_podman(*unknown).stdout.split()
                    list(pool.map(lambda one: self.try_podman("healthcheck", "run", one), waiting))

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
        """Leave nothing behind."""
        for words in (
            ["rm", "--all", "--force", "--time=0"],
            ["volume", "prune", "--force"],
            ["network", "prune", "-f"],
        ):
            self.try_podman(*words)
        subprocess.run(["umount", "--lazy", self.folder / "root" / "overlay"], check=False, capture_output=True)
        # A hundred thousand files: that takes a while, for which nobody waits.
        gone = (self.folder / "root").rename(self.folder.with_suffix(".gone"))
        subprocess.run(["sh", "-c", 'nice rm -rf "$0" >/dev/null 2>&1 &', gone], check=True)


def make_root(cache: Path, name: str) -> Path:
    """Make a root file system of Debian's packages, unless the cache has it."""
    release, packages = ROOTS[name]
    tar = cache / f"{name}-{release}.tar"
    if not tar.exists():
        new = tar.with_suffix(".new.tar")
        options = [
            *('--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Check-Valid-Until "false"'),
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in BARE),
        ]
        # Data that packages have made.
        hook = f'--customize-hook=cd "$1" && rm -rf {" ".join(MADE)}'
        what = ["--variant=minbase", "--components=main", f"--include={','.join(packages)}", hook]
        words = [program("mmdebstrap", "mmdebstrap"), *options, *what, release, new, MIRROR]
        made = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True)
        if made.returncode:
            unproved(f"no root of Debian's {release}: {made.stderr.strip()[-300:]}")
        new.rename(tar)
    return tar


@contextmanager
def private_engine(cache: Path) -> Iterator[Engine]:
    """An engine for as long as the block takes."""
    # Not pytest's folder: the path of a socket has to be short, and images are large.
    with tempfile.TemporaryDirectory(prefix="box-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder))
        try:
            engine.probe()
            engine.import_roots(cache)
            with engine.serving():
                yield engine
        finally:
            engine.clean()


class Project:
    """A project in containers."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Read what it consists of."""
        self.engine, self.folder = engine, folder
        self.compose_file = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
        self.name: str = self.compose_file["name"]
        self.services: dict[str, Any] = self.compose_file["services"]
        self.port = free_port()
        self.site = f"http://localhost:{self.port}"
        # podman's name server is at the gateway, and silent for a while when containers come and go. Neither podman nor
        # a company gives networks of this range, which is for measurements.
        network = f"198.{18 + self.port % 2}.{self.port // 2 % 256}"
        subnet = {"subnet": f"{network}.0/24", "gateway": f"{network}.1"}
        more = {
            "services": {name: {"dns_opt": ["timeout:1"]} for name in self.services},
            "networks": {"front": {"ipam": {"config": [subnet]}}},
        }
        self.override = folder.parent / "compose.podman.yaml"
        self.override.write_text(yaml.safe_dump(more))
        self.env = {
            **engine.env,
            "DOCKER_HOST": f"unix://{engine.socket}",
            "PUBLISHED_PORT": str(self.port),
            "RESOLVERS": f"{network}.1",
        }

    def build(self) -> None:
        """Lock, and build the images as Compose would; Compose itself would need another builder."""
        uv = Path(sys.executable).with_name("uv")
        words = [uv, "lock", "--quiet", "--python", sys.executable]
        subprocess.run(list(map(str, words)), check=True, cwd=self.folder)
        dockerfile = (self.folder / "Dockerfile").read_text(encoding="utf-8")
        images = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
        images += [service["image"] for service in self.services.values() if "build" not in service]
        for image in sorted({image for image in images if ":" in image}):
            self.engine.stand_in(image)
        self.images = {
            name: f"docker.io/library/{service['image'].partition(':')[0]}:latest"
            for name, service in self.services.items()
            if "build" in service
        }
        for name in sorted({"proxy", "web"} & self.services.keys()):
            self.engine.build(self.folder, name, self.images[name])

    def compose(self, *words: str, files: tuple[str, ...] = ("compose.yaml",)) -> str:
        """Run a command of Compose, and return all that it says."""
        named = [part for file in (*files, str(self.override)) for part in ("--file", file)]
        result = subprocess.run(
            [compose_program(), *named, *words],
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
        """What all containers have said."""
        return "\n".join(f"{name}: {self.log(name)}" for name in self.containers())

    def log(self, container: str) -> str:
        """What a container has said."""
        result = self.engine.try_podman("logs", container)
        return (result.stdout + result.stderr)[-20_000:]

    def containers(self, service: str = "") -> list[str]:
        """The names of the containers of a service, or of all."""
        label = f"label=com.docker.compose.service={service}" if service else "label=com.docker.compose.project"
        return sorted(self.engine.podman("ps", "--all", "--filter", label, "--format", "{{.Names}}").split())

    def state(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        state: dict[str, Any] = json.loads(self.engine.podman("inspect", container))[0]["State"]
        return state

    def health(self, container: str) -> tuple[list[str], list[str], str]:
        """How a container's health is checked, its variables, and its image."""
        known = json.loads(self.engine.podman("inspect", container))[0]
        kind, *words = known["Config"]["Healthcheck"]["Test"]
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words, known["Config"]["Env"], known["Image"]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be up for as long as the block takes."""
        try:
            self.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(2 * PATIENCE))
            yield
        except BaseException:
            print(self.logs())
            raise
        finally:
            self.compose("--profile", "*", "down", "--volumes", "--timeout", "2", "--remove-orphans")
