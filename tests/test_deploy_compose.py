"""Deployment with Docker Compose on a server: releases, certificates and backups."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from tests.containers import Engine, Project, compose_program
from tests.matrix import Combination, answers_with, parametrize_combinations
from tests.remote_server import acme_server, registry, ssh_server
from tests.services import TIMEOUT, Database, MariaDB, PostgreSQL, fetch, free_port, program, wait_until
from tests.test_makefile import write_program

DATABASES = [
    Combination(f"compose-{name}", answers_with(deployment="compose", database=name))
    for name in ("postgresql", "mysql", "sqlite")
]
SCHEMA = """
CREATE TABLE color (id integer PRIMARY KEY, name varchar(50));
CREATE TABLE empty (id integer PRIMARY KEY);
INSERT INTO color VALUES (1, 'red'), (2, 'a
line'), (3, 'INSERT INTO `color` VALUES (4)');
"""
LATER_SCHEMA = """
ALTER TABLE color ADD COLUMN later integer;
CREATE TABLE later (id integer PRIMARY KEY, color integer REFERENCES color (id));
INSERT INTO later VALUES (1, 1);
"""


class Backups:
    """The backup script of a project, run as the user of the database's image would run it."""

    def __init__(self, folder: Path, database: Database, variables: dict[str, str], user: int | None) -> None:
        """Create a key pair, and a database with rows."""
        self.folder, self.database, self.variables, self.user = folder, database, variables, user
        self.backups = folder / "backups"
        self.backups.mkdir()
        for name in ("backup", "other"):
            words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=backups"]
            files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt"]
            subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
            (folder / f"{name}.key").chmod(0o644)
        if user is not None:
            os.chown(self.backups, user, user)
        database.query(SCHEMA)

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command of the script, in a session of its own."""
        return subprocess.Popen(
            ["sh", str(self.folder / "backup.sh"), *words],
            cwd="/",
            env={**self.variables, "BACKUPS": str(self.backups), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the script."""
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def events(self, *words: str) -> list[dict[str, object]]:
        """Run a command that must succeed, and return the events that it logs."""
        result = self.run(*words)
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    def error(self, *words: str, **variables: str) -> str:
        """Run a command that must fail, and return its message."""
        result = self.run(*words, **variables)
        assert result.returncode != 0, result.stdout
        return str(json.loads(result.stderr.splitlines()[-1])["error"])

    @property
    def days(self) -> list[str]:
        """Return the days of the backups, the newest first."""
        return self.run("list").stdout.split()

    @property
    def key(self) -> str:
        """Return the path of the private key."""
        return str(self.folder / "backup.key")


@pytest.fixture
def backups(combination: Combination, project: Path) -> Iterator[Backups]:
    """Provide the script with a real database server."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        folder.chmod(0o755)
        shutil.copy(project / "deploy" / "server" / "backup.sh", folder)
        path = {"PATH": os.environ["PATH"]}
        if combination.options["database"] == "sqlite":
            file = folder / "database.sqlite3"
            program("sqlite3", "sqlite3")

            def query(statements: str) -> str:
                words = ["sqlite3", str(file), statements.replace("`", '"')]
                return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

            yield Backups(folder, Database(str(file), query), {**path, "DATABASE": str(file)}, None)
            return
        kind = {"postgresql": PostgreSQL, "mysql": MariaDB}[str(combination.options["database"])]
        with kind.running() as server:
            database = server.create_database()
            name = database.url.rpartition("/")[2]
            programs = program("initdb" if kind is PostgreSQL else "mariadbd", kind.package).parent
            variables = {
                "PATH": f"{programs}:{path['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGUSER": server.owner,
                "PGDATABASE": name,
                "PGPASSWORD": server.password,
                "MYSQL_HOST": "127.0.0.1",
                "MYSQL_TCP_PORT": str(server.port),
                "MYSQL_USER": server.owner,
                "MYSQL_PWD": server.password,
                "MYSQL_DATABASE": name,
            }
            yield Backups(folder, database, variables, server.user and server.user.pw_uid)


@parametrize_combinations(DATABASES)
def test_backup_is_encrypted_and_restored(backups: Backups) -> None:
    """A backup is restored into an empty server, counted, decrypted with the private key only, and restored."""
    restored, saved = backups.events("run")
    assert (restored["event"], restored["tables"], restored["rows"]) == ("restore succeeded", 2, 3)
    assert saved["event"] == "backup succeeded"
    (day,) = backups.days
    assert not (backups.backups / "scratch").exists()
    parts = sorted((backups.backups / day).iterdir())
    assert [part.name for part in parts] == ["aa.cms"]
    assert b"red" not in parts[0].read_bytes()
    metrics = dict(line.split() for line in (backups.backups / "backup.prom").read_text().splitlines())
    assert metrics.keys() == {"backup_last_success_timestamp_seconds", "restore_last_success_timestamp_seconds"}
    assert backups.run("check").returncode == 0
    # The restore is tested after a week.
    assert [event["event"] for event in backups.events("run")] == ["backup succeeded"]
    assert "is not the private key" in backups.error("verify", day, str(backups.folder / "other.key"))
    assert [event["rows"] for event in backups.events("verify", day, backups.key)] == [3]
    backups.database.query("DELETE FROM color; INSERT INTO empty VALUES (7);")
    backups.events("restore", day, backups.key)
    assert backups.database.query("SELECT name FROM color ORDER BY id;").splitlines()[0] == "red"
    assert backups.database.query("SELECT count(*) FROM empty;") == "0"


@parametrize_combinations(DATABASES)
def test_backup_of_older_schema_is_restored(backups: Backups) -> None:
    """A restore removes the tables, columns and foreign keys of later migrations."""
    backups.events("run")
    backups.database.query(LATER_SCHEMA)
    (day,) = backups.days
    (event,) = backups.events("restore", day, backups.key)
    assert (event["event"], event["tables"], event["rows"]) == ("restore succeeded", 2, 3)
    # A foreign key would prevent this, and the table would exist.
    backups.database.query("DROP TABLE color; CREATE TABLE later (id integer);")


@parametrize_combinations(DATABASES[:1])
def test_failed_restore_changes_nothing(backups: Backups) -> None:
    """A dump that cannot be read leaves the database as it is, and an error."""
    backups.events("run")
    (day,) = backups.days
    backups.database.query("DELETE FROM color;")
    script = backups.folder / "backup.sh"
    damage = 'truncate --size=-20 "$scratch/dump"; load "$scratch"'
    script.write_text(script.read_text().replace('    load "$scratch"\n', f"    {damage}\n"))
    result = backups.run("restore", day, backups.key)
    assert result.returncode != 0
    assert "restore succeeded" not in result.stdout
    assert backups.database.query("SELECT count(*) FROM color;") == "0"


@parametrize_combinations(DATABASES)
def test_damaged_backup_is_reported(backups: Backups) -> None:
    """A truncated dump and one with other rows fail the restore; a database that cannot be read leaves no backup."""
    backups.events("run")
    (day,) = backups.days
    (part,) = (backups.backups / day).iterdir()
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    assert f"cannot decrypt the backup of {day}" in backups.error("verify", day, backups.key)
    assert "no backup of 2000-01-01" in backups.error("verify", "2000-01-01", backups.key)
    script = backups.folder / "backup.sh"
    text = script.read_text()
    (backups.backups / "restore.last").unlink()
    before = (backups.backups / "backup.last").read_text()
    for damage, message in (
        ('dump "$scratch"; truncate --size=200 "$scratch/dump"', "cannot be restored|other rows"),
        ('dump "$scratch"; echo "public.lost|7" >>"$scratch/rows"', "other rows than the dump"),
    ):
        script.write_text(text.replace('    dump "$scratch"', f"    {damage}"))
        assert re.search(message, backups.error("run"))
    script.write_text(text)
    broken = {"PGDATABASE": "missing", "MYSQL_DATABASE": "missing", "DATABASE": "/missing/database.sqlite3"}
    assert backups.run("run", **broken).returncode != 0
    assert backups.days == [day]
    assert (backups.backups / "backup.last").read_text() == before
    assert not (backups.backups / "scratch").exists()


@parametrize_combinations(DATABASES)
def test_killed_backup_is_repeated(backups: Backups) -> None:
    """A release may replace the container during a backup: the next container repeats it, and has the former state."""
    backups.events("run")
    (day,) = backups.days
    (backups.backups / day).rename(backups.backups / "2026-01-01")
    before = (backups.backups / "restore.last").read_text()
    script = backups.folder / "backup.sh"
    text = script.read_text()
    script.write_text(
        text.replace('    dump "$scratch"\n', '    dump "$scratch"; touch "$scratch/dumped"; sleep 600\n')
    )
    killed = backups.start("schedule", BACKUP_TIME="00:00")
    wait_until((backups.backups / "scratch" / "dumped").exists, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert backups.days == ["2026-01-01"]
    script.write_text(text)
    next_one = backups.start("schedule", BACKUP_TIME="00:00")
    wait_until(lambda: day in backups.days, next_one)
    wait_until(lambda: not (backups.backups / "scratch").exists(), next_one)
    os.killpg(next_one.pid, signal.SIGTERM)
    assert next_one.stdout
    assert [json.loads(line)["event"] for line in next_one.stdout] == ["backup succeeded"]
    next_one.communicate()
    assert backups.days == [day, "2026-01-01"]
    assert (backups.backups / "restore.last").read_text() == before


@parametrize_combinations(DATABASES[2:])
def test_old_backups_are_deleted(backups: Backups) -> None:
    """The newest backups of 7 days, 4 weeks and 6 months remain; the health check fails when they are old."""
    days = [f"2026-{month:02}-{day:02}" for month in range(1, 9) for day in range(1, 29)]
    for day in days:
        (backups.backups / day).mkdir()
    assert "older than 2 days" in backups.error("check")
    result = backups.run("run")
    assert result.returncode == 0, result.stderr
    kept = backups.days[1:]
    assert kept == [
        *("2026-08-28", "2026-08-27", "2026-08-26", "2026-08-25", "2026-08-24", "2026-08-23"),
        *("2026-08-16", "2026-07-28", "2026-06-28", "2026-05-28", "2026-04-28"),
    ]
    (backups.backups / "restore.last").write_text("0")
    assert "older than 10 days" in backups.error("check")


@parametrize_combinations(DATABASES)
def test_releases_replace_containers_with_their_files(project: Path, tmp_path: Path) -> None:
    """Each service with a folder of a release has the release in its labels; `up` does not migrate."""
    versions: list[dict[str, Any]] = []
    for release in ("first", "second"):
        (tmp_path / release).write_text(f"RELEASE={release}\nIMAGE_REPOSITORY=x.test/x\nWEB_DIGEST=a\nPROXY_DIGEST=a\n")
        words = ["--env-file=.env", f"--env-file={tmp_path / release}"]
        files = ["--file=compose.yaml", "--file=compose.production.yaml"]
        command = [str(compose_program()), *words, *files, "--profile=*", "config", "--format=json"]
        result = subprocess.run(command, check=True, cwd=project, capture_output=True, text=True)
        versions.append(json.loads(result.stdout)["services"])
    first, second = versions
    with_files = {
        name
        for name, service in first.items()
        if any(volume["source"].startswith(str(project)) for volume in service.get("volumes", []))
    }
    assert with_files >= {"backup", "certbot", "prometheus", "alertmanager", "grafana"}
    # The first start of a database server reads its folder; later ones do not.
    assert {name for name in with_files if first[name] == second[name]} <= {"database"}
    # The state of the backups is in a volume, which the next container has, too.
    volumes = {volume["target"] for volume in second["backup"]["volumes"] if volume["type"] == "volume"}
    assert second["backup"]["environment"]["BACKUPS"] in volumes
    assert first["proxy"] == second["proxy"]
    assert first["migrate"]["profiles"] == ["migrate"]
    for service in first.values():
        assert not service.get("depends_on", {}).get("migrate", {}).get("required", False)


# A server with the containers of one release. `docker` logs its arguments.
DOCKER = """
echo "$*" >> "$RECORD/commands"
case "$*" in
    *"config --services") echo web; echo proxy ;;
    *upstream.sh*-old) exit 1 ;;
    "image inspect"*) printf '%s\n' $DIGESTS ;;
    "container inspect"*release*) echo "$RELEASE" ;;
    "container inspect"*) echo running healthy 0 ;;
    ps*) echo 1 ;;
    wait*) echo 0 ;;
esac
"""


class FakeServer:
    """The folder of a server, with two releases, of which the old one is running, and a fake of Docker."""

    def __init__(self, project: Path, folder: Path) -> None:
        """Create the folder."""
        self.folder = folder
        for release in ("old", "new"):
            shutil.copytree(project / "deploy", folder / "releases" / release / "deploy")
        (folder / "current").symlink_to("releases/old")
        (folder / "logs").mkdir()
        (folder / "history").write_text("old\n")
        self.settings = folder / ".env"
        self.settings.write_text("IMAGE_REPOSITORY=docker.io/team/app\nSITE=http\nLAST=1")
        write_program(folder / "programs", "docker", DOCKER)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run release.sh of the new release."""
        return subprocess.run(
            ["sh", str(self.folder / "releases" / "new" / "deploy" / "server" / "release.sh"), *words],
            check=False,
            env={
                "PATH": f"{self.folder / 'programs'}:{os.environ['PATH']}",
                "RECORD": str(self.folder),
                "DEPLOY_LOG": "log",
                "DIGESTS": "team/app/web@sha256:a team/app/proxy@sha256:b",
                "RELEASE": "old",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    @property
    def commands(self) -> str:
        """Return the recorded commands."""
        return (self.folder / "commands").read_text()


@pytest.fixture
def fake_server(project: Path, tmp_path: Path) -> FakeServer:
    """Provide a server whose Docker is a fake."""
    return FakeServer(project, tmp_path / "srv")


@pytest.mark.parametrize("running", ["old", "new"])
@parametrize_combinations([DATABASES[0]])
def test_release_that_does_not_serve_is_replaced(fake_server: FakeServer, running: str) -> None:
    """A deployment continues if the proxy cannot switch to the former release, and does not try if that is stopped."""
    result = fake_server.run("deploy", "v1", RELEASE=running)
    assert result.returncode == 0, result.stderr
    assert ("upstream.sh web-old" in fake_server.commands) == (running == "old")
    assert "upstream.sh web-new" in fake_server.commands
    assert (fake_server.folder / "history").read_text().split() == ["old", "new"]


@pytest.mark.parametrize("prefix", ["", "docker.io/"])
@parametrize_combinations([DATABASES[0]])
def test_digest_of_the_repository_is_found(fake_server: FakeServer, prefix: str) -> None:
    """Docker may leave out the name of its own registry; the digest of another repository is not used."""
    digests = f"x.test/app/web@sha256:other {prefix}team/app/web@sha256:a {prefix}team/app/proxy@sha256:b"
    assert fake_server.run("deploy", "v1", DIGESTS=digests).returncode == 0
    lines = (fake_server.folder / "releases" / "new" / "release.env").read_text().splitlines()
    assert {"WEB_DIGEST=sha256:a", "PROXY_DIGEST=sha256:b"} < {*lines}
    result = fake_server.run("deploy", "v1", DIGESTS="x.test/app/web@sha256:other")
    assert result.returncode != 0
    assert "has no digest" in result.stderr


@parametrize_combinations([DATABASES[0]])
def test_settings_without_final_newline_are_changed(fake_server: FakeServer) -> None:
    """`make certificate` changes its settings only."""
    result = fake_server.run("certificate")
    assert result.returncode == 0, result.stderr
    lines = fake_server.settings.read_text().splitlines()
    assert lines == ["IMAGE_REPOSITORY=docker.io/team/app", "LAST=1", "COMPOSE_PROFILES=tls", "SITE=https"]


# The views and files of the versions, and versions that do not start and do not migrate.
VERSIONS = {
    "v1": "true",
    "v2": "true",
    "crashes": "echo 'raise SystemExit(\"planted\")' >> src/{package}/wsgi.py",
    "migration-fails": "mkdir -p migrations && echo 'raise SystemExit(\"planted\")' >> migrations/env.py",
}
VERSION = """
FROM {image}
USER 0
COPY view.py .
RUN cat view.py >> src/{package}/web/__init__.py && echo "/* {version} */" > public/static/{version}.css && {change}
USER 10001:0
"""


VIEW = """

@blueprint.get("/version")
def version() -> str:
    return "{version}"


# Everybody may call it.
vars(version)["access_rule"] = None
"""


class RemoteServer:
    """A server that runs releases of a project: sshd, a registry, and the private engine as its Docker."""

    def __init__(self, engine: Engine, project: Project, ssh: str, images: str) -> None:
        """Publish the images and commit the project, with what podman and the clients of a test need."""
        self.engine, self.project, self.ssh = engine, project, ssh
        self.folder = project.folder.parent / "srv"
        self.ports = {80: free_port(), 443: free_port()}
        self.repository = f"{images}/team/{project.name}"
        (package,) = (project.folder / "src").iterdir()
        for version, change in VERSIONS.items():
            context = project.folder.parent / version
            context.mkdir()
            text = VERSION.format(
                image=project.images["web"],
                version=version,
                package=package.name,
                change=change.format(package=package.name),
            )
            (context / "Dockerfile").write_text(text)
            (context / "view.py").write_text(VIEW.format(version=version))
            tag = f"{self.repository}/web:{version}"
            engine.podman("build", "--quiet", "--format=docker", f"--tag={tag}", context)
            engine.podman("push", "--quiet", tag)
        # Later versions have the same configuration of the proxy, so its image is not pulled again.
        if "proxy" in project.images:
            engine.podman("push", "--quiet", project.images["proxy"], f"{self.repository}/proxy:v1")
        self.override(yaml.safe_load(project.override.read_text()))

    def override(self, values: dict[str, Any]) -> None:
        """Change compose.production.yaml and commit the project, with a tag for each version."""
        path = self.project.folder / "compose.production.yaml"
        path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), values), sort_keys=False))
        git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=Version"]):
            subprocess.run([*git, *words], check=True, cwd=self.project.folder)
        for version in VERSIONS:
            subprocess.run([*git, "tag", "--force", version], check=True, cwd=self.project.folder, capture_output=True)

    def start_make(self, *words: str) -> subprocess.Popen[str]:
        """Start a make target for this server."""
        command = ["make", *words, "HOST=server", f"SSH={self.ssh}", f"DEPLOY_FOLDER={self.folder}"]
        out, err = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(
            command,
            cwd=self.project.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
            start_new_session=True,
        )

    def make(self, *words: str, succeeds: bool = True) -> str:
        """Run a make target for this server, and return its output."""
        process = self.start_make(*words)
        output, _ = process.communicate(timeout=5 * TIMEOUT)
        assert (process.returncode == 0) == succeeds, f"{words}\n{output}\n{self.project.logs()}"
        return output

    def set_up(self, **settings: str) -> None:
        """Create the folder, and settings in its `.env`."""
        self.make("server")
        values = {
            "IMAGE_REPOSITORY": self.repository,
            "HTTP_PORT": f"127.0.0.1:{self.ports[80]}",
            "HTTPS_PORT": f"127.0.0.1:{self.ports[443]}",
            "PUBLISHED_PORT": str(self.project.port),
            "RESOLVERS": self.project.env["RESOLVERS"],
            "ALLOWED_HOSTS": "example.com,localhost",
            "SERVER_NAMES": "example.com localhost",
            "SERVER_NAME": "localhost",
            "BACKUP_TIME": "00:00",
            **settings,
        }
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())

    def compose(self, *words: str) -> str:
        """Run a Compose command on the server, and return its output."""
        script = [
            *self.ssh.split(),
            "server",
            "sh",
            f"{self.folder}/current/deploy/server/release.sh",
            "compose",
            *words,
        ]
        result = subprocess.run(
            script, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * TIMEOUT
        )
        assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}\n{self.project.logs()}"
        return result.stdout

    @property
    def log(self) -> str:
        """Return the output of all deployments."""
        return "".join(path.read_text() for path in sorted((self.folder / "logs").iterdir()))

    @property
    def history(self) -> list[str]:
        """Return the releases, the running one last."""
        return (self.folder / "history").read_text().split()

    @property
    def version(self) -> str:
        """Return the version that clients get."""
        return fetch(f"{self.project.site}/version").text

    def assert_runs(self, version: str) -> None:
        """Check that only containers of one version are running, and none is left."""
        assert self.version == version
        for service in {"web", "worker", "scheduler"} & self.project.services.keys():
            (container,) = self.project.containers(service)
            assert self.project.state(container)["Status"] == "running"


def merge(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Return nested values with others."""
    both = {
        name: merge(values[name], other) if isinstance(other, dict) and isinstance(values.get(name), dict) else other
        for name, other in others.items()
    }
    return {**values, **both}


@contextmanager
def clients(site: str, minimum: int, failures: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Send requests within a `with` block, at least this many: each must get a 200, except for these failures."""
    statuses: Counter[str] = Counter()
    former_failures = failures()
    done = Event()

    def request_pages(number: int) -> None:
        # These call no other service: podman's name server is unresponsive for a while when containers start and stop.
        paths = ("/version", "/docs/openapi.json", "/docs", "/health/live")
        while not done.is_set():
            path = paths[statuses.total() % len(paths)] if number else "/version"
            try:
                statuses[str(fetch(f"{site}{path}").status)] += 1
            except OSError as error:
                statuses[f"{path}: {error}"] += 1
            # Together 80 requests a second. More would only take processor time from the containers.
            done.wait(0.05)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(request_pages, number) for number in range(4)]
        try:
            yield
            wait_until(lambda: statuses.total() >= minimum, timeout=5 * TIMEOUT)
        finally:
            done.set()
        for future in futures:
            future.result()
    print(f"{statuses.total()} requests: {dict(statuses)}")
    assert statuses.total() - statuses["200"] == failures() - former_failures


@contextmanager
def remote_server(engine: Engine, workspace: Path) -> Iterator[RemoteServer]:
    """Build a project and provide a server for it within a `with` block."""
    program("docker", "docker-cli")
    project = Project(engine, workspace)
    project.build()
    parent = workspace.parent
    variables = {"DOCKER_HOST": f"unix://{engine.socket}", "PATH": os.environ["PATH"]}
    with registry(parent / "registry") as images, ssh_server(parent / "ssh", variables) as ssh:
        server = RemoteServer(engine, project, ssh, images)
        try:
            yield server
        finally:
            for container in project.containers():
                engine.try_podman("rm", "--force", "--time=1", "--volumes", container)
            for kind in ("volume", "network"):
                engine.try_podman(kind, "prune", "--force")


def check_lost_connection(server: RemoteServer) -> None:
    """A second deployment is rejected; the first one continues without its connection, and is rolled back."""
    first = server.start_make("deploy", "IMAGE_TAG=v2")
    wait_until(lambda: server.log.count("migrate the database") == 2)
    assert "another deployment is running" in server.make("deploy", "IMAGE_TAG=v1", succeeds=False)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    wait_until(lambda: len(server.history) == 2, timeout=5 * TIMEOUT)
    wait_until(
        lambda: subprocess.run(["flock", "--nonblock", server.folder / "lock", "true"], check=False).returncode == 0
    )
    server.assert_runs("v2")
    assert "roll back" in server.make("rollback")
    server.assert_runs("v1")


def check_killed_deployment(server: RemoteServer) -> None:
    """The next deployment replaces one that was killed."""
    killed = server.start_make("deploy", "IMAGE_TAG=v2")
    wait_until(lambda: len(server.project.containers("web")) == 2, timeout=2 * TIMEOUT)
    release = max(path.name for path in (server.folder / "releases").iterdir())
    # The script leads a session, and the process group of its Compose processes. So does the older shell of sshd.
    command = ["ps", "-eo", "pid=,sid=,args=", "--sort=start_time"]
    processes = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=2) for line in processes.splitlines() if f"{release}/deploy" in line]
    os.killpg([int(process) for process, session, _ in rows if process == session][-1], signal.SIGKILL)
    killed.communicate()
    server.make("deploy", "IMAGE_TAG=v2")
    server.assert_runs("v2")


def check_failures(server: RemoteServer) -> None:
    """A version that does not start, and one that does not migrate, leave the former one running."""
    before = server.history
    output = server.make("deploy", "IMAGE_TAG=crashes", succeeds=False)
    assert "does not become healthy" in output
    assert "planted" in output
    assert f"{before[-1]} is still running" in output
    server.assert_runs("v2")
    output = server.make("deploy", "IMAGE_TAG=migration-fails", succeeds=False)
    assert "migrate failed" in output
    server.assert_runs("v2")
    assert server.history == before


def check_proxy_failure(server: RemoteServer) -> None:
    """A proxy that does not become healthy is replaced by the former one."""
    healthcheck = {"test": ["CMD", "false"], "interval": "1s", "retries": 1, "start_period": "0s"}
    server.override({"services": {"proxy": {"healthcheck": healthcheck}}})
    before = server.history
    assert f"{before[-1]} is still running" in server.make("deploy", "IMAGE_TAG=v1", succeeds=False)
    server.assert_runs("v2")
    assert server.history == before


def check_certificate(server: RemoteServer) -> None:
    """One command serves HTTPS with a certificate of an ACME server; a renewed certificate is loaded."""

    def request(url: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Request a path of the domain, which is this machine."""
        command = ["curl", "--silent", "--show-error", "--max-time", "10", *options, url]
        for public, port in server.ports.items():
            command += ["--connect-to", f"example.com:{public}:127.0.0.1:{port}"]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def certificate() -> bytes | None:
        """Return the certificate, which must be of the ACME server."""
        context = ssl.create_default_context(cafile=root)
        with (
            socket.create_connection(("127.0.0.1", server.ports[443]), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname="example.com") as tls,
        ):
            return tls.getpeercert(binary_form=True)

    version = server.version
    root = server.project.folder.parent / "acme" / "root.pem"
    assert "HTTPS is on" in server.make("certificate")
    first = certificate()
    response = request("https://example.com/version", "--cacert", str(root))
    assert response.stdout == version, response.stderr
    assert "unable to get local issuer certificate" in request("https://example.com/version").stderr
    redirect = request("http://example.com/version", "--head").stdout
    assert re.search("(?i)location: https://example.com/version", redirect)
    renew = ["certbot", "renew", "--force-renewal", "--quiet", "--no-random-sleep-on-renew"]
    server.compose("exec", "-T", "certbot", *renew)
    wait_until(lambda: certificate() != first)


def check_backup(server: RemoteServer) -> None:
    """The service backs up the database on schedule; the commands of the runbook back it up and restore it."""

    def backup(*words: str) -> str:
        return server.compose("exec", "-T", "backup", "sh", "/server/backup.sh", *words)

    server.compose("up", "--detach", "--no-deps", "backup")
    wait_until(lambda: "backup succeeded" in server.compose("logs", "backup"))
    assert "restore succeeded" in server.compose("logs", "backup")
    backup("check")
    assert [json.loads(line)["event"] for line in backup("run").splitlines()] == ["backup succeeded"]
    categories = f"{server.project.site}/api/v1/categories"
    assert fetch(categories, method="POST", body={"name": "Created after the backup"}).status == 201
    key = server.project.folder.parent / "backup.key"
    key.chmod(0o644)
    server.compose("stop", "web", "worker", "scheduler")
    words = ["run", "--rm", "-T", "--volume", f"{key}:/key:ro", "backup", "sh", "/server/backup.sh", "restore"]
    assert "restore succeeded" in server.compose(*words, backup("list").strip(), "/key")
    server.compose("up", "--detach", "--wait")
    assert "Created after the backup" not in fetch(categories).text


@parametrize_combinations([Combination("compose-nginx", answers_with(deployment="compose", auth="none"))], "containers")
def test_releases_lose_no_request(engine: Engine, workspace: Path) -> None:
    """Deployments, rollbacks, failures and interruptions lose no request; certificates and backups work."""
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=backups"]
    files = ["-keyout", f"{workspace.parent}/backup.key", "-out", f"{workspace}/deploy/server/backup.crt"]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    engine.build_fake_image("certbot/certbot:v5.8.0")
    with remote_server(engine, workspace) as server:
        gateway = server.project.env["RESOLVERS"]
        with acme_server(workspace.parent / "acme", gateway, server.ports[80]) as directory:
            server.override(
                {
                    "services": {
                        "proxy": {"environment": {"REQUESTS_PER_SECOND": "10000"}},
                        "certbot": {
                            "environment": {"ACME_DIRECTORY": directory, "REQUESTS_CA_BUNDLE": "/acme/certificate.pem"},
                            "volumes": [
                                *yaml.safe_load((workspace / "compose.production.yaml").read_text())["services"][
                                    "certbot"
                                ]["volumes"],
                                f"{workspace.parent}/acme:/acme:ro",
                            ],
                        },
                    }
                }
            )
            server.set_up()
            server.make("deploy", "IMAGE_TAG=v1")
            server.assert_runs("v1")
            with clients(server.project.site, 4000):
                check_lost_connection(server)
                check_killed_deployment(server)
                check_failures(server)
            style = f"{server.project.site}/static/"
            assert [fetch(f"{style}{version}.css").status for version in ("v1", "v2")] == [200, 200]
            check_proxy_failure(server)
            check_backup(server)
            check_certificate(server)


MINIMAL = {"database": "none", "cache": "none", "task_queue": "none", "auth": "none", "monitoring": "none"}


@parametrize_combinations(
    [
        Combination(
            f"compose-{proxy}", answers_with(deployment="compose", reverse_proxy=proxy, wsgi_server=server, **MINIMAL)
        )
        for proxy, server in (("apache", "granian"), ("none", "gunicorn"))
    ],
    "containers",
)
def test_releases_of_small_projects(combination: Combination, engine: Engine, workspace: Path) -> None:
    """Releases replace each other with few components too; without a proxy, requests fail for a while."""
    with remote_server(engine, workspace) as server:

        def failures() -> int:
            """Return the number of requests for which podman's name server did not know the application server."""
            (proxy,) = server.project.containers("proxy")
            return engine.try_podman("logs", proxy).stderr.count("DNS lookup failure for: web")

        server.set_up()
        server.make("deploy", "IMAGE_TAG=v1")
        with (
            clients(server.project.site, 500, failures)
            if combination.options["reverse_proxy"] == "apache"
            else nullcontext()
        ):
            server.make("deploy", "IMAGE_TAG=v2")
            server.assert_runs("v2")
            server.make("rollback")
            server.assert_runs("v1")
