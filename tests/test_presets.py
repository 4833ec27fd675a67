"""Presets: answers for kinds of services, in files that every way of making a project takes."""

import json
import os
from pathlib import Path

import pytest
import yaml
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from pytest_cookies.plugin import Cookies

from presets.check import QUESTIONS, YES_OR_NO, faults
from tests.answers import DEFAULT, MANIFEST, OPTIONS, PRESETS, ROWS, TEMPLATE
from tests.conftest import Run
from tests.test_refusals import COOKIECUTTER, contents

FOLDER = TEMPLATE / "presets"
each_preset = pytest.mark.parametrize("preset", PRESETS)


def new(run: Run, *variables: str) -> tuple[int, str]:
    """Run `make new`; give its exit code and what it said."""
    result = run("make", "new", *variables, cwd=TEMPLATE)
    return result.returncode, result.stdout + result.stderr


@each_preset
def test_it_names_options_only(preset: str) -> None:
    """In the order in which they are asked; names and texts are each project's own."""
    assert list(PRESETS[preset]) == [name for name in OPTIONS if name in PRESETS[preset]]
    assert not list(faults({"default_context": PRESETS[preset]}))
    assert (FOLDER / f"{preset}.yaml").read_text(encoding="utf-8").startswith("# ")


@each_preset
def test_it_is_a_row(preset: str) -> None:
    """So all that is proved of rows is proved of it."""
    assert [row for row in ROWS if row.options == DEFAULT.options | PRESETS[preset]]


@each_preset
def test_its_replay(preset: str) -> None:
    """UPDATE_DOCS=1 writes it anew: the answers, and what is derived from them; cookiecutter adds the rest."""
    context = generate_context(str(TEMPLATE / "cookiecutter.json"), default_context={**PRESETS[preset]})
    recorded = {
        name: answer
        for name, answer in prompt_for_config(context, no_input=True).items()
        if name in QUESTIONS or (name.startswith("__") and "cookiecutter." in json.dumps(MANIFEST[name]))
    }
    replay = FOLDER / f"{preset}.json"
    text = json.dumps({"cookiecutter": recorded}, indent=2) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        replay.write_text(text, encoding="utf-8")
    assert replay.exists()
    assert replay.read_text(encoding="utf-8") == text, "UPDATE_DOCS=1 make test ARGS=tests/test_presets.py"


def test_no_replay_is_left_over() -> None:
    """Each belongs to a preset."""
    assert {path.stem for path in FOLDER.glob("*.json")} == PRESETS.keys()


@each_preset
def test_all_ways_give_the_same_project(preset: str, cookies: Cookies, tmp_path: Path, run: Run) -> None:
    """As a file of settings, as a replay, and by `make new`."""
    expected = contents(cookies.bake(extra_context=PRESETS[preset]).project_path)
    file = FOLDER / f"{preset}.yaml"
    for way in (["--no-input", "--config-file", file], ["--replay-file", file]):
        output = tmp_path / str(way[0])
        made = run(COOKIECUTTER, TEMPLATE, *way, "-o", output, cwd=tmp_path, HOME=str(tmp_path / "home"))
        assert made.returncode == 0, made.stdout + made.stderr
        assert contents(output / "my-service") == expected
    code, said = new(run, f"PRESET={preset}", f"OUT={tmp_path / 'my projects'}")
    assert code == 0, said
    assert contents(tmp_path / "my projects" / "my-service") == expected


TEAM = """
default_context:
  author_name: "The \\"Blue\\" Team"
  license: proprietary
  python_version: "3.12"
  database: sqlite
  example_app: no
"""


def test_a_team_has_its_own(tmp_path: Path, run: Run) -> None:
    """A file anywhere, or what a project records of itself; what is named besides counts more."""
    own = tmp_path / "our standards" / "service.yaml"
    own.parent.mkdir()
    own.write_text(TEAM, encoding="utf-8")
    code, said = new(run, f"PRESET={own}", "NAME=O'Brien & Sons", f"OUT={tmp_path / 'one'}", "ARGS=database=none")
    assert code == 0, said
    project = tmp_path / "one" / "o-brien-sons"
    recorded = yaml.safe_load((project / ".template.yaml").read_text(encoding="utf-8"))["default_context"]
    wanted = {"author_name": 'The "Blue" Team', "license": "proprietary", "database": "none", "example_app": "False"}
    assert wanted.items() <= recorded.items()

    code, said = new(run, f"PRESET={project / '.template.yaml'}", f"OUT={tmp_path / 'two'}")
    assert code == 0, said
    assert contents(tmp_path / "two" / project.name) == contents(project)


def test_the_environment_names_none(tmp_path: Path, run: Run) -> None:
    """A variable of a shell that happens to be called so is no answer."""
    variables = {"PRESET": "nowhere", "NAME": "laptop", "OUT": str(tmp_path / "out")}
    made = run("make", "new", f"ARGS=--no-input -o {tmp_path}", cwd=TEMPLATE, **variables)
    assert made.returncode == 0, made.stdout + made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my-service"]


WRONG = {
    "default_context:\n  databse: sqlite\n": "databse is no question: database is one",
    "default_context:\n  _files: {}\n": "_files is no question",
    "default_context:\n  database: oracle\n": "database = 'oracle' is none of postgresql, mysql, sqlite, none",
    "default_context:\n  python_version: 3.12\n": 'write "3.12"',
    "default_context:\n  web_pages: maybe\n": "web_pages = 'maybe' is neither true nor false",
    "default_context:\n  author_name: 1\n": "author_name = 1 is no text",
    "database: sqlite\n": "below `default_context:`",
    "default_context: sqlite\n": "below `default_context:`",
    "- database\n": "below `default_context:`",
    "": "below `default_context:`",
    "default_context: [\n": "cannot be read",
    "default_context:\n  domain_name: localhost\n": "domain_name = 'localhost'",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_file(text: str, tmp_path: Path, run: Run) -> None:
    """It is refused in one message, and nothing is written."""
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    code, said = new(run, f"PRESET={own}", f"OUT={tmp_path / 'out'}")
    assert code != 0
    assert WRONG[text] in said
    assert ("Traceback" in said) is ("domain_name" in text)  # a hook's refusal ends in cookiecutter's
    assert not [*tmp_path.glob("out/*")]


def test_all_that_is_wrong_at_once(tmp_path: Path, run: Run) -> None:
    """Nobody corrects one answer only to hear of the next."""
    own = tmp_path / "own.yaml"
    own.write_text("default_context: {databse: sqlite, cache: x, web_pages: 2}\n", encoding="utf-8")
    code, said = new(run, f"PRESET={own}", f"OUT={tmp_path}")
    assert code != 0
    assert all(name in said for name in ("databse", "cache = 'x'", "web_pages = 2"))


@pytest.mark.parametrize("name", ["nowhere", "no/such/file.yaml", "nowhere.yaml", "presets"])
def test_a_preset_that_is_not_there(name: str, tmp_path: Path, run: Run) -> None:
    """Those that are there are named."""
    code, said = new(run, f"PRESET={name}", f"OUT={tmp_path}")
    assert code != 0
    assert all(preset in said for preset in PRESETS)
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_what_cookiecutter_makes_of_a_wrong_value(tmp_path: Path, run: Run) -> None:
    """A warning, and its own defaults from there on, unless warnings are errors: docs/options.md says so."""
    own = tmp_path / "own.yaml"
    own.write_text("default_context: {cache: none, database: oracle, task_queue: none}\n", encoding="utf-8")
    command: list[str | Path] = [COOKIECUTTER, TEMPLATE, "--no-input", "--config-file", own, "-o", tmp_path / "out"]
    refused = run(*command, cwd=tmp_path, PYTHONWARNINGS="error::UserWarning", HOME=str(tmp_path))
    assert refused.returncode != 0
    assert "oracle provided for choice variable database" in refused.stderr
    assert not [*tmp_path.glob("out/*")]
    made = run(*command, cwd=tmp_path, HOME=str(tmp_path))
    assert made.returncode == 0
    assert "oracle provided for choice variable database" in made.stderr
    recorded = yaml.safe_load((tmp_path / "out" / "my-service" / ".template.yaml").read_text(encoding="utf-8"))
    assert [recorded["default_context"][name] for name in ("cache", "database", "task_queue")] == [
        "none",
        OPTIONS["database"][0],
        OPTIONS["task_queue"][0],
    ]


def test_what_is_yes_or_no() -> None:
    """The words are cookiecutter's own."""
    for word in YES_OR_NO:
        generate_context(str(TEMPLATE / "cookiecutter.json"), extra_context={"web_pages": word})
