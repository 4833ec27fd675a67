"""Tests of presets: their answers, their replays, and files of a team."""

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from pytest_cookies.plugin import Cookies

from scripts.new_project import QUESTIONS, YES_OR_NO, find_preset_errors
from tests.conftest import Run
from tests.matrix import COMBINATIONS, DEFAULT, MANIFEST, OPTIONS, PRESETS, TEMPLATE
from tests.test_docs import check_table
from tests.test_invalid_answers import COOKIECUTTER, read_files

FOLDER = TEMPLATE / "presets"
FOLDERS = json.loads((TEMPLATE / "tests" / "folders.json").read_text(encoding="utf-8"))
parametrize_presets = pytest.mark.parametrize("preset", PRESETS)


def make_new(run: Run, *variables: str) -> tuple[int, str]:
    """Run `make new`; return its exit code and output."""
    result = run("make", "new", *variables, cwd=TEMPLATE)
    return result.returncode, result.stdout + result.stderr


@parametrize_presets
def test_preset_names_only_options(preset: str) -> None:
    """A preset contains choices in the order of the questions, and no names or texts."""
    assert list(PRESETS[preset]) == [name for name in OPTIONS if name in PRESETS[preset]]
    assert not list(find_preset_errors({"default_context": PRESETS[preset]}))
    assert "auth" in PRESETS[preset], "a preset decides who may call the service"
    assert (FOLDER / f"{preset}.yaml").read_text(encoding="utf-8").startswith("# ")


@parametrize_presets
def test_preset_is_a_combination(preset: str) -> None:
    """Each preset is one of the combinations, so the tests of combinations cover it."""
    assert [combination for combination in COMBINATIONS if combination.options == DEFAULT.options | PRESETS[preset]]


@parametrize_presets
def test_replay_matches_preset(preset: str) -> None:
    """The replay has the answers of the preset and the variables derived from them; UPDATE_DOCS=1 rewrites it."""
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


def list_folders(parent: Path, project: Path, indent: str = "") -> Iterator[tuple[str, str]]:
    """Yield the line of each folder in a tree, and the description of the folder.

    A package is described by its docstring, and another folder by tests/folders.json. The others are left out.
    """
    described = []
    for folder in sorted(path for path in parent.iterdir() if path.is_dir()):
        module = folder / "__init__.py"
        if "src" in folder.parts and module.exists():
            docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
            described.append((folder, docstring.partition("\n")[0].removesuffix(".")))
        elif description := FOLDERS.get(folder.relative_to(project).as_posix()):
            described.append((folder, description))
    for folder, description in described:
        is_last = folder == described[-1][0]
        yield f"{indent}{'└── ' if is_last else '├── '}{folder.name}/", description
        yield from list_folders(folder, project, f"{indent}{'    ' if is_last else '│   '}")


# Tests that write the same file run in one process.
@pytest.mark.xdist_group("README")
@parametrize_presets
def test_presets_page_shows_folders_and_containers(preset: str, cookies: Cookies) -> None:
    """docs/presets.md has the containers and the described folders of each preset; UPDATE_DOCS=1 rewrites them."""
    project = cookies.bake(extra_context=PRESETS[preset]).project_path
    folders = [*list_folders(project, project)]
    assert {path.name for path in project.iterdir() if path.is_dir()} <= FOLDERS.keys()
    width = max(len(line) for line, _ in folders) + 2
    tree = "\n".join([f"{project.name}/", *(f"{line:{width}}{description}" for line, description in folders)])
    services = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))["services"]
    containers = ", ".join(f"`{name}`" for name, service in services.items() if "profiles" not in service)
    check_table("docs/presets.md", preset, f"Containers: {containers}.\n\n```\n{tree}\n```\n")


def test_each_replay_has_a_preset() -> None:
    """There is a replay for each preset, and no other."""
    assert {path.stem for path in FOLDER.glob("*.json")} == PRESETS.keys()


@parametrize_presets
def test_all_commands_render_equal_projects(preset: str, cookies: Cookies, tmp_path: Path, run: Run) -> None:
    """A preset gives the same files as --config-file, as --replay-file, and with `make new`."""
    expected = read_files(cookies.bake(extra_context=PRESETS[preset]).project_path)
    file = FOLDER / f"{preset}.yaml"
    for arguments in (["--no-input", "--config-file", file], ["--replay-file", file]):
        folder = tmp_path / str(arguments[0])
        result = run(COOKIECUTTER, TEMPLATE, *arguments, "-o", folder, cwd=tmp_path, HOME=str(tmp_path / "home"))
        assert result.returncode == 0, result.stdout + result.stderr
        assert read_files(folder / "my-service") == expected
    code, output = make_new(run, f"PRESET={preset}", "ARGS=--no-input", f"OUT={tmp_path / 'my projects'}")
    assert code == 0, output
    assert read_files(tmp_path / "my projects" / "my-service") == expected


TEAM_PRESET = """
default_context:
  author_name: "The \\"Blue\\" Team"
  license: proprietary
  python_version: "3.12"
  database: sqlite
  example_app: no
"""


def test_preset_may_be_any_file(tmp_path: Path, run: Run) -> None:
    """PRESET may be a path, also of a project's `.template.yaml`; arguments have precedence over it."""
    file = tmp_path / "our standards" / "service.yaml"
    file.parent.mkdir()
    file.write_text(TEAM_PRESET, encoding="utf-8")
    code, output = make_new(
        run, f"PRESET={file}", "NAME=O'Brien & Sons", f"OUT={tmp_path / 'one'}", "ARGS=database=none auth=none"
    )
    assert code == 0, output
    project = tmp_path / "one" / "o-brien-sons"
    recorded = yaml.safe_load((project / ".template.yaml").read_text(encoding="utf-8"))["default_context"]
    expected = {"author_name": 'The "Blue" Team', "license": "proprietary", "database": "none", "example_app": "False"}
    assert expected.items() <= recorded.items()

    code, output = make_new(run, f"PRESET={project / '.template.yaml'}", f"OUT={tmp_path / 'two'}")
    assert code == 0, output
    assert read_files(tmp_path / "two" / project.name) == read_files(project)


def test_environment_variables_are_ignored(tmp_path: Path, run: Run) -> None:
    """Environment variables with the names of make's variables are not used."""
    variables = {"PRESET": "nowhere", "NAME": "laptop", "OUT": str(tmp_path / "out")}
    result = run("make", "new", f"ARGS=--no-input -o {tmp_path}", cwd=TEMPLATE, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my-service"]


INVALID_FILES = {
    "default_context:\n  databse: sqlite\n": "databse is not a question: did you mean database?",
    "default_context:\n  _files: {}\n": "_files is not a question",
    "default_context:\n  database: oracle\n": "database = 'oracle' is not one of postgresql, mysql, ",
    "default_context:\n  python_version: 3.12\n": 'write "3.12"',
    "default_context:\n  web_pages: maybe\n": "web_pages = 'maybe' is neither true nor false",
    "default_context:\n  author_name: 1\n": "author_name = 1 is not a text",
    "database: sqlite\n": "below `default_context:`",
    "default_context: sqlite\n": "below `default_context:`",
    "- database\n": "below `default_context:`",
    "": "below `default_context:`",
    "default_context: [\n": "Cannot read",
    "default_context:\n  domain_name: localhost\n": "domain_name = 'localhost'",
}


@pytest.mark.parametrize("text", INVALID_FILES, ids=range(len(INVALID_FILES)))
def test_invalid_preset_is_rejected(text: str, tmp_path: Path, run: Run) -> None:
    """One message describes the error, and nothing is written."""
    file = tmp_path / "preset.yaml"
    file.write_text(text, encoding="utf-8")
    code, output = make_new(run, f"PRESET={file}", f"OUT={tmp_path / 'out'}")
    assert code != 0
    assert INVALID_FILES[text] in output
    assert "Traceback" not in output
    assert not [*tmp_path.glob("out/*")]


def test_all_preset_errors_are_reported(tmp_path: Path, run: Run) -> None:
    """One message names all errors of a preset."""
    file = tmp_path / "preset.yaml"
    file.write_text("default_context: {databse: sqlite, cache: x, web_pages: 2}\n", encoding="utf-8")
    code, output = make_new(run, f"PRESET={file}", f"OUT={tmp_path}")
    assert code != 0
    assert all(name in output for name in ("databse", "cache = 'x'", "web_pages = 2"))


MISSING = {
    "nowhere": "Preset nowhere",
    "presets": "Preset presets",
    "nowhere.yaml": "File nowhere.yaml",
    "no/such/file.yaml": "File no/such/file.yaml",
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_preset_is_reported(name: str, tmp_path: Path, run: Run) -> None:
    """The error has the given name or path, and lists the presets."""
    code, output = make_new(run, f"PRESET={name}", f"OUT={tmp_path}")
    assert code != 0
    assert f"{MISSING[name]} does not exist. Use " in output
    assert all(preset in output for preset in PRESETS)
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_cookiecutter_only_warns_of_invalid_value(tmp_path: Path, run: Run) -> None:
    """Cookiecutter warns and uses defaults for the remaining answers, unless warnings are errors (docs/options.md)."""
    file = tmp_path / "preset.yaml"
    file.write_text("default_context: {cache: none, database: oracle, task_queue: none}\n", encoding="utf-8")
    command: list[str | Path] = [COOKIECUTTER, TEMPLATE, "--no-input", "--config-file", file, "-o", tmp_path / "out"]
    failed = run(*command, cwd=tmp_path, PYTHONWARNINGS="error::UserWarning", HOME=str(tmp_path))
    assert failed.returncode != 0
    assert "oracle provided for choice variable database" in failed.stderr
    assert not [*tmp_path.glob("out/*")]
    result = run(*command, cwd=tmp_path, HOME=str(tmp_path))
    assert result.returncode == 0
    assert "oracle provided for choice variable database" in result.stderr
    recorded = yaml.safe_load((tmp_path / "out" / "my-service" / ".template.yaml").read_text(encoding="utf-8"))
    assert [recorded["default_context"][name] for name in ("cache", "database", "task_queue")] == [
        "none",
        OPTIONS["database"][0],
        OPTIONS["task_queue"][0],
    ]


def test_cookiecutter_accepts_yes_and_no_words() -> None:
    """Cookiecutter accepts all words in `YES_OR_NO` for a boolean question."""
    for word in YES_OR_NO:
        generate_context(str(TEMPLATE / "cookiecutter.json"), extra_context={"web_pages": word})
