"""`make load` and `make profile` of a project, as its Makefile has them."""

import re
from pathlib import Path

import pytest

from tests.answers import DEFAULT, MINIMAL, Row, each
from tests.conftest import Run, lend
from tests.edge import application_server

# What no load reaches.
ENOUGH = "100000/second"


@pytest.fixture
def armed(workspace: Path, environment: Path) -> dict[str, str]:
    """A project that has set itself up, with the programs of the shared environment."""
    return lend(workspace, environment, ".built", ".load")


@each([DEFAULT, MINIMAL])
def test_load(row: Row, workspace: Path, environment: Path, armed: dict[str, str], run: Run, tmp_path: Path) -> None:
    """Each kind of client gets answers, and no failures; a page tells of it."""
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/load.sqlite3"}
    if row.options["database"] != "none":
        for words in (["db", "upgrade"], ["seed"]):
            made = run(environment / "flask", "--app", "my_service.wsgi", *words, cwd=workspace, **armed, **settings)
            assert made.returncode == 0, made.stdout + made.stderr
    with application_server(
        workspace,
        row,
        environment,
        tmp_path / "log",
        DATABASE_URL=settings["DATABASE_URL"],
        RATE_LIMIT=ENOUGH,
        RATE_LIMIT_WRITES=ENOUGH,
    ) as upstream:
        asked = run("make", "load", f"URL=http://{upstream.bind}", "SECONDS=8", "USERS=30", cwd=workspace, **armed)
    told = asked.stdout + asked.stderr
    assert asked.returncode == 0, told
    # What clients choose by chance, and so few of them that none may choose it in this time, is not expected.
    expected = {"/docs"}
    if row.options["example_app"]:
        expected |= {"/api/v1/products", "/api/v1/products/ID, again", "an import, until it is done"}
    else:
        expected |= {"/health/live"}
    (page,) = (path.read_text(encoding="utf-8") for path in workspace.glob("load.html"))
    for name in expected:
        assert re.search(rf"(GET|JOB) +{re.escape(name)} +\d+ +0\(", told), told
        assert name in page


@each([DEFAULT])
def test_profile(workspace: Path, armed: dict[str, str], run: Run) -> None:
    """A picture tells where the time of an address goes."""
    drawn = run("make", "profile", "ADDRESS=/docs", "SECONDS=3", cwd=workspace, **armed)
    if "Permission Denied" in drawn.stderr:
        pytest.skip("`make profile` was NOT proved: this machine lets nobody look into processes")
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    assert re.search(r"/docs: \d+ requests in 3 s, the last one 200", drawn.stderr)
    picture = (workspace / "profile.svg").read_text(encoding="utf-8")
    assert "full_dispatch_request" in picture
