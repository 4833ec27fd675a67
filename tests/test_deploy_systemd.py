"""Projects with deployment=systemd: the units, socket activation, and a server that docs/deployment.md sets up."""

import http.client
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
import yaml

from tests.application_servers import Upstream, protocol_of, variables_of
from tests.conftest import Run
from tests.deployed_project import PRODUCTION_SETTINGS
from tests.machines import Machine, booted_machine
from tests.matrix import COMBINATIONS, OPTIONS, Combination, answers_with, parametrize_combinations
from tests.services import TIMEOUT, descendants, free_port, program, wait_until
from tests.settings import required_settings, setting_names

DEPLOYED = [combination for combination in COMBINATIONS if combination.options["deployment"] == "systemd"]
# Each server with each proxy, and the longest names: the user of the service has at most 31 characters.
SERVERS = [
    Combination(
        f"systemd-{server}-{proxy}",
        answers_with(
            deployment="systemd", wsgi_server=server, reverse_proxy=proxy, database="none", cache="none", auth="none"
        ),
        {"project_slug": f"a-service-with-a-name-of-{server}-and-{proxy}-xx"},
    )
    for server in OPTIONS["wsgi_server"]
    for proxy in OPTIONS["reverse_proxy"]
]
# Seconds. A deployment takes 20 without other load, most of them to install packages.
DEPLOY_TIMEOUT = 240
# The projects that run on a server.
PAGE = Combination(
    "systemd-page",
    answers_with(deployment="systemd", auth="none", monitoring="none"),
    {"project_slug": "shop", "package_name": "shop"},
)
OTHER_PAGE = Combination(
    "systemd-other-page",
    answers_with(
        deployment="systemd",
        auth="none",
        monitoring="prometheus",
        database="mysql",
        cache="memcached",
        task_queue="celery-rabbitmq",
        wsgi_server="uwsgi",
        reverse_proxy="apache",
    ),
    {"project_slug": "shop", "package_name": "shop"},
)
# Variables of Python, Flask and the shell.
OTHER_VARIABLES = {"FLASK_APP", "FLASK_DEBUG", "HOME", "PYTHONUNBUFFERED"}
MAXIMUM_EXPOSURE = "30"  # 3.0
REQUESTS = 4000
CLIENTS = 4
RESTARTS = 2


def units_of(project: Path) -> Path:
    """Return the folder of the units."""
    return project / "deploy" / "systemd"


def slug_of(project: Path) -> str:
    """Return the beginning of the units' names."""
    (socket_unit,) = units_of(project).glob("*-web.socket")
    return socket_unit.name.removesuffix("-web.socket")


def install_units(project: Path, folder: Path) -> list[Path]:
    """Copy the units to a folder, as install.sh does, with the programs of the project; return their files."""
    slug = slug_of(project)
    for source in units_of(project).glob(f"{slug}-*"):
        text = source.read_text(encoding="utf-8")
        unit = folder / source.name.replace("@.", "@1.")
        unit.write_text(re.sub(rf"/srv/{slug}/(current|next)/deploy", f"{project}/deploy", text), encoding="utf-8")
        if unit.suffix == ".service":
            (folder / f"{unit.name}.d").mkdir()
            shutil.copy2(units_of(project) / "common.conf", folder / f"{unit.name}.d")
    return sorted(file for file in folder.iterdir() if file.is_file())


def values_of(unit: Path, key: str) -> list[str]:
    """Return the values of a key of a unit, such as ExecStart."""
    return re.findall(rf"(?m)^{key}=(.*)$", unit.read_text(encoding="utf-8"))


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    command = [program("systemd-analyze", "systemd"), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@parametrize_combinations(DEPLOYED + SERVERS)
def test_units_are_valid(project: Path, tmp_path: Path) -> None:
    """The units have no unknown key, name existing programs, and isolate their processes."""
    units = install_units(project, tmp_path)
    result = analyze("verify", "--man=no", "--recursive-errors=no", *units)
    assert (result.returncode, result.stderr) == (0, "")
    for unit in units:
        if unit.suffix == ".service":
            result = analyze("security", "--offline=yes", f"--threshold={MAXIMUM_EXPOSURE}", unit)
            assert result.returncode == 0, result.stdout + result.stderr


@parametrize_combinations(DEPLOYED)
def test_misspelt_key_is_reported(project: Path, tmp_path: Path) -> None:
    """The check of the units finds a misspelt key, also in the shared part."""
    units = install_units(project, tmp_path)
    shared = next(tmp_path.glob("*-web.service.d")) / "common.conf"
    shared.write_text(shared.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHomes="), encoding="utf-8")
    result = analyze("verify", "--man=no", "--recursive-errors=no", *units)
    assert result.returncode != 0
    assert "ProtectHomes" in result.stderr


@parametrize_combinations(DEPLOYED + SERVERS)
def test_units_have_all_settings(project: Path) -> None:
    """Each variable in the units and in settings.env exists, and settings.env has the required ones."""
    folder = units_of(project)
    settings = {line.partition("=")[0] for line in (folder / "settings.env").read_text().splitlines() if "=" in line}
    settings = {name for name in settings if not name.startswith("#")}
    files = [folder / "common.conf", *folder.glob("*.service")]
    variables = {value.partition("=")[0] for file in files for value in values_of(file, "Environment")}
    assert settings | variables <= setting_names(project) | OTHER_VARIABLES
    assert required_settings(project) <= settings
    assert not settings & variables, "the units would be overridden"


@parametrize_combinations(DEPLOYED + SERVERS)
def test_units_have_the_limits_of_the_containers(combination: Combination, project: Path) -> None:
    """Memory limits, process limits and grace periods are those of compose.yaml, which docs/capacity.md explains."""
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    slug, folder = slug_of(project), units_of(project)
    expected = {"check", "web"}
    if combination.options["database"] != "none":
        expected |= {"backup", "migrate"}
    if combination.options["task_queue"] != "none":
        expected |= {"scheduler", "worker"}
    found = {re.sub(rf"^{slug}-|@?\.service$", "", file.name): file for file in folder.glob("*.service")}
    assert found.keys() == expected
    for key in ("MemoryMax", "TasksMax"):
        assert values_of(found["check"], key) == values_of(found["web"], key)
    for name in expected - {"backup", "check"}:
        limits = services[name]["deploy"]["resources"]["limits"]
        assert values_of(found[name], "MemoryMax") == [str(limits["memory"])], name
        assert values_of(found[name], "TasksMax") == [str(limits["pids"])], name
        assert values_of(found[name], "TimeoutStopSec") == [services[name]["stop_grace_period"].removesuffix("s")], name
        if name in ("web", "worker", "scheduler"):
            assert values_of(found[name], "Restart") == ["always"], name


@parametrize_combinations(DEPLOYED + SERVERS)
def test_units_run_the_commands_of_the_containers(project: Path) -> None:
    """Each unit runs the command of its container."""
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    (serve,) = re.findall(r"(?m)^\t.* --no-override -- (.*)$", (project / "Makefile").read_text(encoding="utf-8"))[:1]
    for unit in units_of(project).glob("*.service"):
        name = re.sub(r"@?\.service$", "", unit.name.removeprefix(f"{slug_of(project)}-"))
        if name != "backup":
            (command,) = values_of(unit, "ExecStart")
            wanted = {"web": serve, "check": f"sh deploy/systemd/check.sh {serve}"}.get(name)
            wanted = wanted or shlex.join(services[name]["command"])
            assert command.partition("/run.sh ")[2].partition(" --hostname")[0] == wanted, name


@parametrize_combinations(DEPLOYED + SERVERS)
def test_scripts_pass_shellcheck(project: Path, venv_bin: Path, run: Run) -> None:
    """Shellcheck reports nothing, and the names of users are valid."""
    folder = units_of(project)
    result = run(venv_bin / "shellcheck", *sorted(folder.glob("*.sh")), cwd=project)
    assert result.returncode == 0, result.stdout
    users = re.findall(r"(?m)^u (\S+)", (folder / "sysusers.conf").read_text(encoding="utf-8"))
    assert len(users) == 2
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,30}", user) for user in users), users
    result = run(program("systemd-sysusers", "systemd"), "--dry-run", folder / "sysusers.conf", cwd=project)
    assert result.returncode == 0, result.stderr


@parametrize_combinations([combination for combination in DEPLOYED if combination.options["database"] != "none"])
def test_old_backups_are_selected(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest backup of each of 7 days and of 5 weeks remains."""
    monkeypatch.setenv("DATABASE_URL", "")
    names = runpy.run_path(str(units_of(project) / "backup.py"))
    start = datetime(2026, 3, 2, 3, tzinfo=UTC)  # a Monday
    times = [start + timedelta(hours=12 * number) for number in range(2 * 7 * 10)]
    backups = [Path(f"{time:{names['FORMAT']}}.dump.age") for time in times]
    kept = [backup.name[:13] for backup in backups if backup not in names["old_backups"](backups)]
    sundays = [f"2026-04-{day}T15" if day > 9 else f"2026-04-0{day}T15" for day in (12, 19, 26)]
    assert kept == [*sundays, "2026-05-03T15", *(f"2026-05-{day:02}T15" for day in range(4, 11))]


PROXY_STUBS = {
    "a2dissite": 'rm "$ETC/apache2/sites-enabled/$2.conf"',
    "a2enmod": "",
    "a2ensite": 'ln -sf "../sites-available/$2.conf" "$ETC/apache2/sites-enabled/$2.conf"',
    "apache2ctl": 'test "$VALID"',
    "install": "",
    "nginx": 'test "$1" = -v && echo nginx/1.22.1 >&2 || test "$VALID"',
    "systemctl": 'echo "$*" >> "$ETC/systemctl.log"',
}


def write_programs(folder: Path, scripts: dict[str, str]) -> None:
    """Write programs, each with the lines of its shell script."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)


@parametrize_combinations([PAGE, OTHER_PAGE])
def test_rejected_site_is_restored(project: Path, tmp_path: Path) -> None:
    """A site that the proxy rejects is off after the first installation; later the former files return."""
    program("envsubst", "gettext-base")
    (script,) = (file for name in ("nginx", "apache") for file in units_of(project).glob(f"{name}.sh"))
    server = script.stem.replace("apache", "apache2")
    text = script.read_text(encoding="utf-8").replace('"$(dirname "$0")/../', f'"{project}/deploy/')
    text = re.sub("/(?=(etc|var)/)", f"{tmp_path}/", text)
    write_programs(tmp_path / "bin", PROXY_STUBS)
    etc = tmp_path / "etc"
    for folder in (f"{server}/sites-available", f"{server}/sites-enabled", "shop"):
        (etc / folder).mkdir(parents=True)
    (tmp_path / "var" / "log" / "nginx").mkdir(parents=True)
    variables = (units_of(project) / "proxy.env").read_text(encoding="utf-8")

    def install(domain: str, valid: str) -> tuple[int, dict[Path, bytes]]:
        """Return the status of the script, and the files of the enabled site."""
        (etc / "shop" / "proxy.env").write_text(variables.replace("example.com", domain), encoding="utf-8")
        env = {"PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}", "ETC": str(etc), "VALID": valid}
        result = subprocess.run(["sh", "-c", text], check=False, env=env, capture_output=True, text=True)
        enabled = any((etc / server / "sites-enabled").iterdir())
        files = {file: file.read_bytes() for file in (etc / server).rglob("*") if file.is_file() and enabled}
        return result.returncode, files

    status, files = install("first.example", valid="")
    assert (status != 0, files) == (True, {})
    status, files = install("second.example", valid="yes")
    assert status == 0
    assert any(b"second.example" in content for content in files.values())
    log = (etc / "systemctl.log").read_text(encoding="utf-8")
    assert f"reload {server}" in log
    rejected, remaining = install("third.example", valid="")
    assert rejected != 0
    assert remaining == files
    assert (etc / "systemctl.log").read_text(encoding="utf-8") == log
    status, files = install("fourth.example", valid="yes")
    assert status == 0
    assert not any(b"second.example" in content for content in files.values())


RELEASE_STUBS = {
    # The build: a file of this release, and one that does not change.
    "flask": 'mkdir -p public/static && echo "$PWD" | tee "public/static/style.$HASH.css" > public/static/style.css'
    " && echo > public/static/logo.0123456789ab.svg",
    "python3": "",
    "sudo": 'case "$*" in *"restart shop-$FAIL.service") exit 1 ;; esac',
    "systemctl": "printf 'active\\n0\\n'",
}
UV_STUBS = {"pip": "", "python": "", "uv": "mkdir -p .venv/bin && ln -sf /bin/true .venv/bin/python"}


@parametrize_combinations([PAGE])
def test_static_files_of_former_releases_remain(project: Path, tmp_path: Path) -> None:
    """A release has the hashed static files of all kept releases, and a migration that fails is reported."""
    root = tmp_path / "srv"
    for folder in ("releases", "uploads", ".uv"):
        (root / folder).mkdir(parents=True)
    write_programs(tmp_path / "bin", RELEASE_STUBS)
    write_programs(root / ".uv" / "bin", UV_STUBS)
    text = (units_of(project) / "release.sh").read_text(encoding="utf-8").replace("root=/srv/shop", f"root={root}")

    def release(*words: str, fail: str = "") -> str:
        """Run the script; return its output, or nothing if it succeeds."""
        env = {"PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}", "FAIL": fail, "HASH": f"{words[-1]:0>12}"}
        command = ["sh", "-c", text, "release.sh", *words]
        result = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
        return result.stdout + result.stderr if result.returncode else ""

    def deploy(number: int, fail: str = "") -> str:
        """Upload a release and deploy it."""
        upload = root / "uploads" / str(number)
        shutil.copytree(project / "deploy" / "systemd", upload / "deploy" / "systemd")
        shutil.copy2(project / "pyproject.toml", upload)
        (upload / "src").mkdir()
        return release("deploy", str(number), fail=fail)

    def styles() -> list[int]:
        """Return the releases whose style sheet is in production."""
        current = (root / "current").resolve()
        folder = current / "public" / "static"
        # The plain name is that of the release itself.
        assert (folder / "style.css").read_text(encoding="utf-8") == f"{current}\n"
        files = folder.glob("style.*.css")
        return sorted(int(file.name.split(".")[1]) for file in files)

    for number in range(1, 8):
        output = deploy(number)
        assert output == "", output
    # The newest 5 releases remain, with the files of those before.
    assert styles() == [2, 3, 4, 5, 6, 7]
    message = "a migration failed; those before it remain, nothing else has changed"
    assert message in deploy(8, fail="migrate")
    assert styles() == [2, 3, 4, 5, 6, 7]
    output = release("rollback")
    assert output == "", output
    assert styles() == [1, 2, 3, 4, 5, 6, 7]


# --- socket activation ----------------------------------------------------------------------------


@contextmanager
def socket_of_systemd(project: Path) -> Iterator[tuple[socket.socket, str]]:
    """Provide the socket that systemd opens for a project, and its address as in BIND."""
    (address,) = values_of(next(units_of(project).glob("*-web.socket")), "ListenStream")
    if address.startswith("/"):
        folder = Path("/tmp/systemd") / str(os.getpid())  # noqa: S108 (the path of a socket is short)
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/web.sock")
            listener.listen(4096)
            yield listener, f"unix:{folder}/web.sock"
        shutil.rmtree(folder)
    else:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(4096)
            yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def start_unit(project: Path, programs: Path, bind: str, listener: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    """Start the process of the web unit as systemd does: the socket is file 3 (sd_listen_fds(3))."""
    (command,) = values_of(next(units_of(project).glob("*-web.service")), "ExecStart")
    _, _, words = command.partition("/run.sh ")
    script = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&{listener.fileno()}'
    env = {**PRODUCTION_SETTINGS, **variables_of(project, programs, bind), "WEB_CONCURRENCY": "2"}
    # Other tests may use the default port.
    env["METRICS_BIND"] = f"127.0.0.1:{free_port()}"
    with log.open("ab") as output:
        return subprocess.Popen(
            ["bash", "-c", script, *shlex.split(words)],
            cwd=project,
            env=env,
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )


@parametrize_combinations(SERVERS)
def test_restart_with_the_socket_of_systemd_loses_no_request(
    combination: Combination, workspace: Path, venv_bin: Path, tmp_path: Path
) -> None:
    """The server accepts connections from systemd's socket only, and leaves it when it ends: the next one continues."""
    with socket_of_systemd(workspace) as (listener, bind):
        log = tmp_path / "log"
        process = start_unit(workspace, venv_bin, bind, listener, log)
        server = Upstream(process, bind, protocol_of(combination), log)
        statuses: Counter[object] = Counter()
        done = Event()

        def send_requests() -> None:
            while not done.is_set():
                try:
                    statuses[server.request("/health/live").status] += 1
                except (OSError, http.client.HTTPException) as error:
                    statuses[repr(error)] += 1
                time.sleep(0.01)

        with ThreadPoolExecutor(CLIENTS) as pool:
            try:
                clients = [pool.submit(send_requests) for _ in range(CLIENTS)]
                wait_until(lambda: statuses[200] > 50, process)
                for _ in range(RESTARTS):
                    # systemd sends SIGTERM to the main process (KillMode=mixed).
                    process.send_signal(signal.SIGTERM)
                    process.wait(TIMEOUT)
                    process = start_unit(workspace, venv_bin, bind, listener, log)
                    number = statuses[200]
                    wait_until(lambda number=number: statuses[200] > number + 100, process)  # type: ignore[misc]
            finally:
                done.set()
                for client in clients:
                    client.result()
                process.terminate()
                process.wait(TIMEOUT)
        lost = sum(number for result, number in statuses.items() if result != 200)
        # uWSGI kills its HTTP router with the requests that it has accepted: docs/runbook.md. A worker of granian
        # closes connections that it has accepted but not read yet.
        options = combination.options
        router = CLIENTS * RESTARTS if options["reverse_proxy"] == "none" else 0
        accepted = {"gunicorn": 0, "granian": 4, "uwsgi": router}[str(options["wsgi_server"])]
        assert lost <= accepted, (statuses, log.read_text(encoding="utf-8")[-3000:])
        assert not descendants(process.pid)


# --- a server -------------------------------------------------------------------------------------


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Provide a bare server."""
    if os.geteuid() != 0:
        pytest.skip("containers take root: sudo make test ARGS=tests/test_deploy_systemd.py")
    assert request.config.cache
    with booted_machine(Path(request.config.cache.mkdir("containers"))) as machine:
        yield machine


class Deployment:
    """A project and the server that it is deployed to."""

    def __init__(self, machine: Machine, folder: Path, programs: Path) -> None:
        """Lock the packages and commit the project."""
        self.machine, self.folder = machine, folder
        subprocess.run([programs / "uv", "lock", "--quiet"], check=True, cwd=folder)
        self.git("init", "--quiet")
        self.commit("Start")

    def git(self, *words: str) -> None:
        """Run a git command."""
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", *identity, *words], check=True, cwd=self.folder, capture_output=True)

    def commit(self, message: str) -> None:
        """Commit all files."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")

    def make(self, target: str, user: str = "shop-deploy") -> str:
        """Run a target that must succeed, and return its output."""
        result = self.machine.make(self.folder, target, user)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def fail(self, target: str = "deploy") -> str:
        """Run a target that must fail, and return its output."""
        result = self.machine.make(self.folder, target, "shop-deploy")
        assert result.returncode != 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def current(self) -> str:
        """Return the current release."""
        return self.machine.run("readlink /srv/shop/current")

    def status(self, path: str, method: str = "GET") -> int:
        """Send a request through the proxy."""
        connection = http.client.HTTPConnection(self.machine.address, timeout=TIMEOUT)
        # The cookie bypasses the cache of the proxy.
        connection.request(method, path, headers={"Host": "example.com", "Cookie": "a=b", "Content-Length": "0"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    @contextmanager
    def requests(self) -> Iterator[Counter[object]]:
        """Send requests continuously within a `with` block; the value has the number of each result."""
        results: Counter[object] = Counter()
        done = Event()

        def send_requests(path: str) -> None:
            while not done.is_set():
                try:
                    results[self.status(path)] += 1
                except (OSError, http.client.HTTPException) as error:
                    results[repr(error)] += 1
                # The port of a closed connection is in use for a minute more, and there are 28,000.
                time.sleep(0.01)

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(send_requests, path) for path in ("/", "/health/ready", "/health/live", "/")]
            try:
                yield results
            finally:
                done.set()
            for client in clients:
                client.result()


def console_blocks(page: str, heading: str) -> list[str]:
    """Return the commands of a chapter."""
    chapter = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"(?ms)^```console\n(.*?)^```", chapter)


def set_up(deployment: Deployment) -> None:
    """Execute the commands of docs/deployment.md, in their order."""
    machine = deployment.machine
    page = (deployment.folder / "docs" / "deployment.md").read_text(encoding="utf-8")
    machine.write("deploy.pub", machine.public_key)
    done = []
    for commands in console_blocks(page, "Set up the server"):
        if found := re.fullmatch(r"make (\w+) HOST=(\S+)@server\.example\.com\n", commands):
            deployment.make(found[1], found[2])
            done.append(found[1])
            if found[1] == "server":
                # The edits that the page asks for, and limits that the load of the test does not reach.
                machine.run("sed -i 's/^SMTP_URL=$/SMTP_URL=log:/' /etc/shop/shop.env")
                machine.run("printf 'REQUESTS_PER_SECOND=100000\\nRATE_LIMIT_BURST=100000\\n' >> /etc/shop/proxy.env")
        elif "certbot certonly" not in commands:
            machine.run(f"export DEBIAN_FRONTEND=noninteractive\n{commands}")
            done.append(commands.split()[0])
    assert done[:2] == ["apt-get", "server"]
    assert done[-2:] == ["deploy", "apt-get"], done


def check_units(deployment: Deployment) -> None:
    """All units run, as users without privileges, and the exposure of each is small."""
    machine = deployment.machine
    for unit in ("shop-web.socket", "shop-web", "shop-worker@1", "shop-scheduler", "shop-migrate", "shop-backup.timer"):
        assert machine.run(f"systemctl is-active {unit}") == "active", unit
    for unit in ("web", "worker@1", "scheduler", "migrate", "backup"):
        machine.run(f"systemd-analyze security --threshold={MAXIMUM_EXPOSURE} shop-{unit}.service")
    process = machine.run("systemctl show --property=MainPID --value shop-web")
    status = machine.run(f"cat /proc/{process}/status")
    assert re.search(r"(?m)^NoNewPrivs:\t1$", status)
    assert re.search(r"(?m)^CapEff:\t0+$", status)
    assert re.search(r"(?m)^Seccomp:\t2$", status)
    assert machine.run(f"stat --format=%U /proc/{process}") == "shop"
    assert machine.run("stat --format='%a %U:%G' /etc/shop/shop.env") == "640 root:shop"
    assert "<secret>" not in machine.run("cat /etc/shop/shop.env")
    # The deploying user is no administrator and cannot read the secrets.
    assert machine.try_run("runuser --user=shop-deploy -- cat /etc/shop/shop.env").returncode
    assert machine.try_run("runuser --user=shop-deploy -- sudo -n systemctl restart ssh.service").returncode
    # The journal of this boot; successful health checks are not logged.
    deployment.status("/")
    lines = machine.run("journalctl --unit=shop-web --output=cat --no-pager").splitlines()
    assert any(json.loads(line).get("event") == "request" for line in lines if line.startswith("{"))
    assert "failed" in machine.run("shop flask jobs queues")


def check_site(deployment: Deployment) -> None:
    """Requests through the proxy get a page, a static file and the API; HTTP is redirected to HTTPS."""
    machine = deployment.machine
    # Step 5 of the page turned TLS on; the rest of the test uses HTTP.
    wait_until(lambda: deployment.status("/") == 308)
    curl = "curl --silent --insecure --resolve example.com:443:127.0.0.1 https://example.com"
    machine.run("apt-get install --yes curl > /dev/null")
    assert "<!doctype html>" in machine.run(f"{curl}/")
    assert machine.run(f"{curl}/health/ready --write-out '%{{http_code}}' --output /dev/null") == "200"
    assert machine.run(f"{curl}/metrics --write-out '%{{http_code}}' --output /dev/null") == "404"
    if (deployment.folder / "docs" / "monitoring.md").exists():
        assert "http_server_active_requests" in machine.run("curl --silent 127.0.0.1:8000/metrics")
        assert "task_queue_length" in machine.run("curl --silent 127.0.0.1:9470/metrics 127.0.0.1:9471/metrics")
    stylesheet = re.search(r'href="(/static/[^"]+\.css)"', machine.run(f"{curl}/"))
    assert stylesheet
    headers = machine.run(f"{curl}{stylesheet[1]} --head --header 'Accept-Encoding: br'")
    assert "immutable" in headers
    assert re.search(r"(?i)content-encoding: br", headers)
    machine.run("sed -i 's/^SITE=.*/SITE=http/' /etc/shop/proxy.env")
    (script,) = (name for name in ("nginx.sh", "apache.sh") if (units_of(deployment.folder) / name).exists())
    machine.run(f"sh /usr/local/src/shop/deploy/systemd/{script}")
    wait_until(lambda: deployment.status("/") == 200)
    assert deployment.status("/api/v1/products") == 200
    assert deployment.status("/api/v1/missing") == 404


def check_deploy(deployment: Deployment) -> None:
    """No request is lost by a restart, a deployment and a rollback, and old releases are deleted."""
    machine = deployment.machine
    first = deployment.current()
    machine.run("install --directory --owner=shop-deploy /srv/shop/releases/20010101T030000Z-old")
    with deployment.requests() as results:
        machine.run("systemctl restart shop-web")
        deployment.commit("Second")
        deployment.make("deploy")
        second = deployment.current()
        deployment.make("rollback")
        assert deployment.current() == first
        while (number := results.total()) < REQUESTS:
            machine.run("systemctl restart shop-web")
            wait_until(lambda number=number: results.total() > number + REQUESTS / 10)  # type: ignore[misc]
    assert second > first
    assert results.keys() == {200}, results
    machine.run(f"cd /srv/shop/{second}/public && test -s ../static-files && xargs ls < ../static-files")
    assert machine.run("ls /srv/shop/releases").split() == [Path(first).name, Path(second).name]


def check_pipeline(deployment: Deployment) -> None:
    """The script of the pipeline deploys, and rolls back if the service does not respond at its URL."""
    before = deployment.current()
    url = f"http://{deployment.machine.address}"  # a host that the proxy rejects
    variables = {
        "URL": url,
        "HOST": f"shop-deploy@{deployment.machine.address}",
        "SSH_KEY": (deployment.machine.folder / "key").read_text(encoding="utf-8"),
        "SSH_KNOWN_HOSTS": (deployment.machine.folder / "known_hosts").read_text(encoding="utf-8"),
    }
    command = ["sh", "deploy/systemd/ci.sh"]
    env = {**os.environ, **variables}
    result = subprocess.run(command, check=False, cwd=deployment.folder, env=env, capture_output=True, text=True)
    assert result.returncode != 0
    assert f"{url} does not work" in result.stderr
    assert result.stderr.count("is in production") == 2
    assert deployment.current() == before
    # Only the one that does not work, the newest, is not in the history.
    history = deployment.machine.run("cat /srv/shop/history").split()
    assert deployment.machine.run("ls /srv/shop/releases").split()[:-1] == history


def check_broken_releases(deployment: Deployment) -> None:
    """A release with a broken package, migration, server or worker is not used, and no request is lost."""
    machine, folder = deployment.machine, deployment.folder
    before = deployment.current()
    migration = max((folder / "migrations" / "versions").glob("*.py"))
    # A broken migration is a new file; its parent is the newest.
    revision = re.search(r'(?m)^revision\b.*= "(\w+)"', migration.read_text(encoding="utf-8"))
    assert revision
    server, worker = folder / "src" / "shop" / "wsgi.py", folder / "src" / "shop" / "worker.py"
    broken = {
        folder / "uv.lock": ("", "it cannot be built"),
        folder / "migrations" / "versions" / "9999_broken.py": (
            f'revision = "9999"\ndown_revision = "{revision[1]}"\n\n\ndef upgrade() -> None:\n    raise ValueError\n',
            "ValueError(.|\n)*: a migration failed; those before it remain, nothing else has changed",
        ),
        # Only in production, so that it can be built.
        server: (
            'import os\n\nassert os.environ["FLASK_DEBUG"] == "1", "broken"\n' + server.read_text(encoding="utf-8"),
            "broken(.|\n)*the application server does not work with it; its migrations remain, nothing else has",
        ),
        worker: ("raise ValueError\n", "a worker or the scheduler does not start(.|\n)*in production again"),
    }
    with deployment.requests() as results:
        for file, (text, message) in broken.items():
            old = file.read_text(encoding="utf-8") if file.exists() else None
            file.write_text(text, encoding="utf-8")
            deployment.commit("Broken")
            output = deployment.fail()
            assert re.search(message, output), output
            assert deployment.current() == before
            if old is None:
                file.unlink()
            else:
                file.write_text(old, encoding="utf-8")
            deployment.commit("Fixed")
    assert results.keys() == {200}, results
    assert machine.run("readlink /srv/shop/next") == before
    check_units(deployment)


def check_interrupted_deployments(deployment: Deployment) -> None:
    """A missing setting, a full disk, a second deployment and a lost connection have a message and leave no files."""
    machine, folder = deployment.machine, deployment.folder
    before = deployment.current()
    machine.run("cp /etc/shop/shop.env shop.env && sed -i /^SECRET_KEY=/d /etc/shop/shop.env")
    output = deployment.fail()
    assert re.search(r"SECRET_KEY(.|\n)*nothing else has changed", output), output
    machine.run("cat shop.env > /etc/shop/shop.env")

    machine.run("mount -t tmpfs -o size=64k,mode=1777 tmpfs /srv/shop/uploads")
    output = deployment.fail()
    assert "No space left on device" in output, output
    assert "the upload failed" in output, output
    assert machine.run("ls /srv/shop/uploads") == ""
    machine.run("umount /srv/shop/uploads")

    # The client is killed while the release is built: the server finishes the deployment, and accepts no other one.
    words = ["make", "--no-print-directory", "deploy", f"HOST=shop-deploy@{machine.address}"]
    env = {**os.environ, "PATH": f"{machine.folder}/bin{os.pathsep}{os.environ['PATH']}"}
    client = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_until(
        lambda: machine.try_run("ls -d /srv/shop/releases/*/.venv/bin | grep -qv " + before).returncode == 0,
        timeout=DEPLOY_TIMEOUT,
    )
    assert "another deployment is running; nothing has changed" in deployment.fail("rollback")
    assert "another deployment is running; nothing has changed" in deployment.fail("deploy")
    assert machine.run("ls /srv/shop/uploads") == ""
    os.killpg(client.pid, signal.SIGKILL)
    client.wait()
    wait_until(lambda: deployment.current() != before, timeout=DEPLOY_TIMEOUT)
    # The end of a deployment deletes old releases and closes the lock.
    machine.run("flock /srv/shop/.lock true")
    before = deployment.current()

    # The script is killed when the release has been built. The next deployment deletes its files: check_pipeline().
    client = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: machine.run("readlink /srv/shop/next") != before, timeout=DEPLOY_TIMEOUT)
    machine.run("kill -KILL $(grep -ls 'systemd/releas[e].sh' /proc/[0-9]*/cmdline | cut -d / -f 3)")
    client.wait()
    assert deployment.current() == before
    assert set(machine.run("cd /srv/shop && ls releases").split()) > set(machine.run("cat /srv/shop/history").split())


def check_supervision(deployment: Deployment) -> None:
    """Killed processes are replaced, and all units start at boot."""
    machine = deployment.machine
    for unit in ("shop-web", "shop-worker@1", "shop-scheduler"):
        show = f"systemctl show --property=MainPID --value {unit}"
        process = machine.run(show)
        machine.run(f"kill -KILL {process}")
        wait_until(lambda show=show, process=process: machine.run(show) not in ("0", process))  # type: ignore[misc]
    wait_until(lambda: deployment.status("/health/ready") == 200)
    machine.reboot()
    machine.address = machine.run("hostname -I").split()[0]
    wait_until(lambda: deployment.status("/health/ready") == 200)
    check_units(deployment)


def check_backup(deployment: Deployment) -> None:
    """A backup is encrypted and can be restored with the commands of the runbook; old ones are deleted.

    The restore deletes a table that a later migration has created, and runs the migration again.
    """
    machine = deployment.machine
    machine.run("shop flask seed")
    machine.run("shop alembic downgrade -1")
    machine.run("age-keygen --output key.txt 2> /dev/null && age-keygen -y key.txt > /etc/shop/backup.pub")
    old = [f"/var/backups/shop/20{year}-01-01T030000Z.old.age" for year in range(10, 20)]
    machine.run(f"touch {' '.join(old)}")
    page = (deployment.folder / "docs" / "runbook.md").read_text(encoding="utf-8")
    (commands,) = console_blocks(page, "Backup and restore")
    start, _, rest = commands.partition("\n")
    machine.run(start)
    backups = machine.run("ls /var/backups/shop").split()
    # The newest of each of 7 days, which are in different years, and 5 weeks.
    assert len(backups) == 7
    machine.run("shop alembic upgrade head")
    backup = f"/var/backups/shop/{backups[-1]}"
    assert machine.run(f"head -c 21 {backup}") == "age-encryption.org/v1"
    client = "mariadb app --execute" if "mariadb app" in rest else "runuser --user=postgres -- psql app --command"
    query = f"cd / && {client} 'SELECT name FROM product'"  # noqa: S608
    products = machine.run(query)
    machine.run(f"cd / && {client} 'DELETE FROM product'")  # noqa: S608
    machine.run(rest.replace("BACKUP", backup))
    assert machine.run(query) == products
    assert len(products.splitlines()) > 5
    assert "(head)" in machine.run("shop alembic current")
    machine.run(f"cd / && {client} 'SELECT id FROM product_upload'")  # noqa: S608
    wait_until(lambda: deployment.status("/health/ready") == 200)


@pytest.mark.xdist_group("containers")
@pytest.mark.parametrize("combination", [pytest.param(PAGE, id="page"), pytest.param(OTHER_PAGE, id="other-page")])
def test_server_runs(combination: Combination, machine: Machine, workspace: Path, venv_bin: Path) -> None:
    """A bare server that the documentation sets up serves, loses no request in a deployment, and is backed up."""
    deployment = Deployment(machine, workspace, venv_bin)
    set_up(deployment)
    check_site(deployment)
    check_units(deployment)
    check_deploy(deployment)
    check_backup(deployment)
    if combination is PAGE:
        check_broken_releases(deployment)
        check_interrupted_deployments(deployment)
        check_pipeline(deployment)
        check_supervision(deployment)
