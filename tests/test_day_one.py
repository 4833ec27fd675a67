"""Day-one test: use a project as a new owner does, from the README to production and an update.

Each step is a subtest, so one run reports all failed steps of a phase, each with its command and output.
"""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import WRITE_BYTECODE, Run, copy_template
from tests.deployed_project import PRODUCTION_SETTINGS
from tests.matrix import DEFAULT, MANIFEST, MINIMAL, OPTIONS, Answers, Combination
from tests.services import (
    MariaDB,
    Memcached,
    PostgreSQL,
    RabbitMQ,
    RedisBroker,
    fetch,
    free_port,
    stop,
    wait_until,
)
from tests.test_invalid_answers import run_cookiecutter
from tests.test_updates import CRUFT, GIT, Repository, find_conflicts

# The default combination, and the combinations that differ most from it and from each other.
DAY_ONE_COMBINATIONS = [
    DEFAULT,
    Combination("tiny-api", MINIMAL.options | {"wsgi_server": "gunicorn"}),
    Combination(
        "sqlite-files-rq",
        DEFAULT.options
        | {
            "database": "sqlite",
            "cache": "filesystem",
            "task_queue": "rq-redis",
            "auth": "jwt",
            "wsgi_server": "granian",
            "reverse_proxy": "none",
        },
    ),
    Combination(
        "mysql-rabbitmq-uwsgi-apache",
        DEFAULT.options
        | {
            "database": "mysql",
            "cache": "memcached",
            "task_queue": "celery-rabbitmq",
            "auth": "none",
            "wsgi_server": "uwsgi",
            "reverse_proxy": "apache",
            "ci": "gitlab",
        },
    ),
]
# The first combination with each CI provider. Its jobs run `make setup` in a clean clone, which takes long.
CI_COMBINATIONS = [
    next(combination for combination in DAY_ONE_COMBINATIONS if combination.options["ci"] == provider)
    for provider in OPTIONS["ci"]
    if provider != "none"
]
# The answers that the update of each combination changes. The new feature depends on none of them.
CHANGED_ANSWERS: dict[str, Answers] = {
    "default": {"cache": "memcached", "wsgi_server": "granian"},
    "tiny-api": {"database": "sqlite", "cache": "filesystem"},
    "sqlite-files-rq": {"database": "postgresql", "wsgi_server": "gunicorn"},
    "mysql-rabbitmq-uwsgi-apache": {"reverse_proxy": "nginx", "task_queue": "celery-redis"},
}
FIRST_FEATURE_PAGE = "docs/first-feature.md"
# A fenced code block with the paragraph above it.
BLOCK = re.compile(r"(?m)^(?P<lead>(?:(?!```).+\n)*)\n*```(?P<kind>\w*)\n(?P<text>(?s:.*?))^```$")
CREATE_FILE = re.compile(r"Create `([^`]+)`:$")
CHANGE_FILE = re.compile(r"[Ii]n `([^`]+)`")
# A failure shows the last characters of the output of a command.
MAX_OUTPUT = 5000
# Variables that a shell may export for other programs.
FOREIGN_VARIABLES = {"LOG_LEVEL": "debug", "WEB_CONCURRENCY": "abc", "SECRET_KEY": "short"}

# Names of settings that production requires besides the URLs of servers.
REQUIRED = ("JWT_", "MAIL_", "SMTP_")

# This command saves time after all tests have run in the same folder.
QUICK_TEST = "make test ARGS=\"-k 'health or notes'\""
NO_VARIABLES: Mapping[str, str] = {}


@dataclass
class Servers:
    """Settings for the servers of production, and a factory of databases."""

    settings: dict[str, str]
    new_database: Callable[[], str]


@contextmanager
def run_servers(combination: Combination, folder: Path) -> Iterator[Servers]:
    """Start the servers of a combination.

    `settings` has all values that production may require, except the URL of the database.
    """
    cache, queue = combination.options["cache"], combination.options["task_queue"]
    settings = {"ALLOWED_HOSTS": "127.0.0.1", "CACHE_URL": f"file://{folder}/cache", "RESULT_URL": f"file://{folder}"}
    settings |= {name: value for name, value in PRODUCTION_SETTINGS.items() if name.startswith(REQUIRED)}
    databases = (f"sqlite:///{folder}/production-{number}.sqlite3" for number in count())
    with ExitStack() as stack:
        if kind := {"postgresql": PostgreSQL, "mysql": MariaDB}.get(str(combination.options["database"])):
            database = stack.enter_context(kind.running())
            databases = (database.create_database().url for _ in count())
        if "redis" in f"{cache} {queue}":
            redis = stack.enter_context(RedisBroker.running()).url
            settings["BROKER_URL"] = f"{redis}/0"
        if cache == "redis":
            settings["CACHE_URL"] = f"{redis}/1"
        if cache == "memcached":
            settings["CACHE_URL"] = stack.enter_context(Memcached.running()).url
        if queue == "celery-rabbitmq":
            settings["BROKER_URL"] = stack.enter_context(RabbitMQ.running()).url
        yield Servers(settings, partial(next, databases))


def documented_paths(page: str) -> list[str]:
    """Return the URL paths of a project in a document: in links, and in the first column of a table."""
    cells = " ".join(re.findall(r"(?m)^\| (`/.*?) \|", page))
    return re.findall(r"<http://127\.0\.0\.1:8000(/.*?)>", page) + re.findall(r"`([^`]+)`", cells)


@dataclass
class Owner:
    """A new owner, who runs commands in the folder of the project."""

    combination: Combination
    project: Repository
    environ: dict[str, str]
    folder: Path
    subtests: pytest.Subtests
    servers: Servers = field(init=False)
    failed: bool = False

    @property
    def test_command(self) -> str:
        """The command for another test run: all tests for the default combination, few for others to save time."""
        return "make test" if self.combination is DEFAULT else QUICK_TEST

    def run(
        self, command: str, variables: Mapping[str, str] = NO_VARIABLES, *, fails: bool = False, cwd: str = "."
    ) -> str:
        """Run a shell command that must succeed or, with `fails`, fail; return its output."""
        result = self.project.execute(
            "bash", "-ec", command, cwd=self.project.folder / cwd, **{**GIT, **self.environ, **variables}
        )
        output = result.stdout + result.stderr
        if bool(result.returncode) is not fails:
            pytest.fail(f"$ {command}\n{output[-MAX_OUTPUT:]}(exit status {result.returncode})", pytrace=False)
        return output

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report a failure of the block as a failed subtest with this name, and continue."""
        with self.subtests.test(msg=name):
            self.failed, failed = True, self.failed
            yield
            self.failed = failed

    def run_steps(self, *commands: str, when: str, cwd: str = ".", **variables: str) -> None:
        """Run commands, each as a step."""
        for command in commands:
            with self.step(f"{command}, {when}"):
                self.run(command, variables, cwd=cwd)

    def commit(self, message: str) -> None:
        """Commit all changes. The project's pre-commit hooks run."""
        self.run(f"git add --all && git commit --quiet --message '{message}'")

    @contextmanager
    def serving(self, command: str, variables: Mapping[str, str]) -> Iterator[Callable[[Callable[[str], bool]], None]]:
        """Run a server, and stop it with SIGINT after the block.

        Yield a function that waits until the output of the server meets a condition.
        """
        log = self.folder / "server.log"
        environ = {**self.environ, **variables}

        def output() -> str:
            return log.read_text(encoding="utf-8", errors="replace")

        with log.open("wb") as file:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.project.folder,
                env=environ,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            yield lambda expected: wait_until(lambda: expected(output()), server)
        except (AssertionError, OSError) as error:
            pytest.fail(f"$ {command}\n{output()[-MAX_OUTPUT:]}\n{error}", pytrace=False)
        finally:
            stop(server, signal.SIGINT)

    def check_first_response(self, paths: Iterable[str] = ("",)) -> None:
        """Run `make run`, which prints a URL when the server is ready, and request the paths there."""
        port = str(free_port())
        url = f"http://127.0.0.1:{port}"
        with self.serving("make run", {"PORT": port}) as wait:
            wait(lambda output: f"Running on {url}" in output)
            for path in paths:
                response = fetch(url + path, Accept="text/html,*/*;q=0.5")
                assert response.status == 200, f"{path}: {response}"
        with pytest.raises(OSError, match="refused"):
            fetch(url, timeout=5)

    def follow(self, page: str, section: str = "") -> None:
        """Apply the code blocks of a page in order: create files, add lines, run commands."""
        text = (self.project.folder / page).read_text(encoding="utf-8")
        if section:
            text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert text.count("\n```") == 2 * len([*BLOCK.finditer(text)]), f"{page}: a block was not recognized"
        path = ""
        for block in BLOCK.finditer(text):
            lead = " ".join(block["lead"].split())
            if block["kind"] == "console":
                for line in block["text"].splitlines():
                    command = line.partition("  #")[0].strip()
                    with self.step(command):
                        if command == "make run":
                            self.check_first_response(["", *documented_paths(text)])
                        elif command == "make test" and page == FIRST_FEATURE_PAGE:
                            self.run(self.test_command)
                        else:
                            self.run(command)
            elif block["kind"] == "diff":
                named = CHANGE_FILE.search(lead)
                path = named[1] if named else path
                self.change(path, block["text"].splitlines())
            else:
                created = CREATE_FILE.search(lead)
                assert created, f"{page} has no instruction for this block:\n{block[0]}"
                assert not (self.project.folder / created[1]).exists(), f"{page} creates {created[1]}, which exists"
                self.project.write(created[1], block["text"])

    def change(self, path: str, diff: list[str]) -> None:
        """Apply a diff that only adds lines. The file must contain its context lines exactly once."""
        before = "".join(f"{line[1:]}\n" for line in diff if line.startswith(" "))
        after = "".join(f"{line[1:]}\n" for line in diff)
        text = self.project.read(path)
        assert text.count(before) == 1, f"{path} has these lines {text.count(before)} times, not once:\n{before}"
        (self.project.folder / path).write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Repository:
    """Return the template as a repository with a tag of its version."""
    repository = Repository(copy_template(tmp_path_factory.mktemp("upstream") / "template"), run)
    repository.commit("Release")
    repository.run("git", "tag", f"v{MANIFEST['_template_version']}")
    return repository


def start(owner: Owner) -> None:
    """Follow the README, and repeat its commands."""
    owner.follow("README.md", "Start")
    owner.run_steps("make setup", when="again")
    owner.run_steps(QUICK_TEST, when="again", **FOREIGN_VARIABLES)
    with owner.step("the commands leave nothing to commit"):
        assert owner.run("git status --porcelain") == ""


def write_first(owner: Owner) -> None:
    """Run the commands of the README that send the first write, while `make run` serves."""
    readme = owner.project.read("README.md")
    blocks = [block["text"] for block in BLOCK.finditer(readme) if "curl" in block["text"]]
    assert bool(blocks) == (owner.combination.options["auth"] != "none")
    port = str(free_port())
    for block in blocks:
        with owner.step("the first write"):
            with owner.serving("make run", {"PORT": port}) as wait:
                wait(lambda output: f"Running on http://127.0.0.1:{port}" in output)
                output = owner.run(block.replace(":8000/", f":{port}/"))
            assert '"name":"Kites"' in output


def run_ci(owner: Owner) -> None:
    """Run the commands of CI in a clean clone, with variables of other programs in the environment."""
    if owner.combination not in CI_COMBINATIONS:
        return
    owner.run_steps("git clone --quiet . ../clone", when="for CI")
    owner.run_steps("make setup", when="on CI", cwd="../clone", CI="true")
    owner.run_steps(owner.test_command, when="on CI", cwd="../clone", CI="true", **FOREIGN_VARIABLES)
    with owner.step("a new version, as the comment in pyproject.toml describes"):
        owner.run("sed -i 's/^version = .*/version = \"0.2.0\"/' pyproject.toml", cwd="../clone")
        owner.run(".venv/bin/uv lock --check", fails=True, cwd="../clone")
        owner.run("make setup", cwd="../clone")
        owner.run(".venv/bin/uv lock --check", cwd="../clone")


def add_feature(owner: Owner) -> None:
    """Follow docs/first-feature.md; then migrate the production database and test the feature on it."""
    owner.follow(FIRST_FEATURE_PAGE)
    if owner.combination.options["database"] == "none":
        return
    url = owner.servers.new_database()
    for command in ("upgrade head", "downgrade -1", "upgrade head", "check"):
        owner.run_steps(f".venv/bin/alembic {command}", when="on the real database", DATABASE_URL=url)
    owner.run_steps(
        "make test ARGS=tests/notes", when="on the real database", TEST_DATABASE_URL=owner.servers.new_database()
    )


def remove_example(owner: Owner) -> None:
    """Remove the example, and test the project, which still has the new feature."""
    if owner.combination.options["example_app"]:
        with owner.step("make remove-example"):
            owner.run("make remove-example")
        owner.run_steps("make test", "make check", when="without the example")
        with owner.step("git commit, without the example"):
            owner.commit("Remove the example")


def run_in_production(owner: Owner) -> None:
    """Start the server in production mode, with the settings that the error message requires."""
    with owner.step("make run-prod, in production"):
        database = owner.servers.new_database()
        output = owner.run("make run-prod", {"FLASK_DEBUG": "0"}, fails=True)
        production = {"FLASK_DEBUG": "0", "BIND": f"127.0.0.1:{free_port()}"}
        for name in re.findall(r"(?m)^\s*([A-Z_]+) is missing$", output):
            production[name] = database if name == "DATABASE_URL" else owner.servers.settings[name]
        if owner.combination.options["database"] != "none":
            owner.run(".venv/bin/alembic upgrade head", production)

        def ready(_output: str) -> bool:
            with suppress(OSError):
                return fetch(f"http://{production['BIND']}/health/ready", timeout=5).status == 200
            return False

        with owner.serving("make run-prod", production) as wait:
            wait(ready)


def change_answers(owner: Owner) -> None:
    """Change answers with `make template-update`."""
    with owner.step("make template-update"):
        owner.run(f"make template-update ANSWERS='{json.dumps(CHANGED_ANSWERS[owner.combination.id])}'")
        assert not find_conflicts(owner.project)
        owner.run("git add --all && git commit --quiet --no-verify --message 'Change an answer'")
    with owner.step("make run, after the update"):
        owner.check_first_response()
    owner.run_steps(QUICK_TEST, when="after the update")


@pytest.mark.parametrize(
    "combination",
    [
        pytest.param(combination, id=combination.id, marks=pytest.mark.xdist_group(f"day one: {combination.id}"))
        for combination in DAY_ONE_COMBINATIONS
    ],
)
def test_day_one(
    combination: Combination,
    tmp_path: Path,
    clean_env: dict[str, str],
    run: Run,
    upstream: Repository,
    subtests: pytest.Subtests,
) -> None:
    """All phases succeed: README, CI, first feature, removal of the example, production, changed answers."""
    environ = {**clean_env, **WRITE_BYTECODE, "COLUMNS": "120", "CRUFT": str(CRUFT)}
    answers = [f"{name}={value}" for name, value in combination.options.items()]
    code, output = run_cookiecutter(run, tmp_path / "projects", *answers, template=upstream.folder)
    assert code == 0, output
    (project,) = (tmp_path / "projects").iterdir()
    owner = Owner(combination, Repository(project, run), environ, tmp_path, subtests)
    with run_servers(combination, tmp_path) as owner.servers:
        for phase in (start, write_first, run_ci, add_feature, remove_example, run_in_production, change_answers):
            phase(owner)
            if owner.failed:
                pytest.fail("The next phase depends on the failed steps.", pytrace=False)
