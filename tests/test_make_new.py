"""Tests of `make new`: prompts, arguments, errors and the output folder."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Run
from tests.matrix import MANIFEST, OPTIONS, PRESETS, TEMPLATE, TEXTS
from tests.test_invalid_answers import read_files

QUESTIONS = [name for name in MANIFEST if not name.startswith("_")]
PERSONAL_QUESTIONS = ["project_name", "author_name", "author_email"]

MakeNew = Callable[..., tuple[int, str]]


@pytest.fixture
def make_new(clean_env: dict[str, str], tmp_path: Path) -> MakeNew:
    """Return a function that runs the script of `make new` in a terminal and types lines at its prompts.

    The function returns the exit code and the output.
    """

    def make_new(
        *arguments: str, typed: list[str] | None = None, template: Path = TEMPLATE, **variables: str
    ) -> tuple[int, str]:
        controller, terminal = pty.openpty()
        command = [sys.executable, str(template / "scripts" / "new_project.py"), *arguments]
        environment = {
            **clean_env,
            "OUT": str(tmp_path / "out"),
            "HOME": str(tmp_path),
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": "1000",
        }
        with subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=template,
            env={**environment, "PWD": str(template), **variables},
        ) as process:
            os.close(terminal)
            # The first prompt is for a preset, and Enter selects none. Control-D ends the input.
            preset_lines = [] if typed is None or arguments or {"PRESET", "NAME"} & variables.keys() else [""]
            os.write(controller, "".join(f"{line}\n" for line in [*preset_lines, *(typed or []), "\x04"]).encode())
            screen = b""
            while part := read_terminal(controller):
                screen += part
        os.close(controller)
        return process.returncode, re.sub(r"\x1b\[[\d;]*m|\r", "", screen.decode())

    return make_new


def read_terminal(controller: int) -> bytes:
    """Return the next output of a terminal, or nothing at its end."""
    try:
        return os.read(controller, 65536)
    except OSError:
        return b""


def recorded_answers(project: Path) -> dict[str, str]:
    """Return the answers in `.template.yaml` of a project."""
    recorded = yaml.safe_load((project / ".template.yaml").read_text(encoding="utf-8"))
    return {name: text.replace("{{ '{' }}", "{") for name, text in recorded["default_context"].items()}


def prompted_questions(screen: str) -> list[str]:
    """Return the questions of all prompts, in order and with repetitions."""
    return [QUESTIONS[int(number) - 1] for number in re.findall(rf"\[(\d+)/{len(QUESTIONS)}\]", screen)]


def test_invalid_answer_repeats_prompt(make_new: MakeNew, tmp_path: Path) -> None:
    """Only the prompt of the invalid answer is repeated, and its default is a valid suggestion."""
    texts = {
        "project_name": ["🛒", "Łukasz' {{ shop }}", "Blue Shop"],
        "project_slug": ["Blue-Shop", ""],
        "package_name": ["json", "blue shop", "blue_store"],
        "description": ["x" * 201, 'It\'s {{ x }} # {% y %} \\ "z"'],
        "author_name": ["x" * 101, "Łukasz Żak"],
        "author_email": ["lukasz", ""],
        "domain_name": ["https://Shop.example.com/x", ""],
    }
    typed = [line for name in QUESTIONS for line in texts.get(name, [""])]
    code, screen = make_new(typed=typed)
    assert code == 0, screen
    assert prompted_questions(screen) == [name for name in QUESTIONS for _ in texts.get(name, [""])]
    for name, lines in texts.items():
        for line in lines[:-1]:
            reason = MANIFEST["_validators"][name]["message"]
            assert f"{line!r} is invalid: it {reason}" in screen or f"{line!r} is invalid: it is the name" in screen
    answers = recorded_answers(tmp_path / "out" / "blue-shop")
    suggestions = {"project_slug": "blue-shop", "author_email": "team@example.com", "domain_name": "shop.example.com"}
    assert [answers[name] for name in texts] == [suggestions.get(name, lines[-1]) for name, lines in texts.items()]


def test_preset_is_the_first_question(make_new: MakeNew, tmp_path: Path) -> None:
    """After the choice of a preset at the first prompt, only the personal questions follow."""
    number = [*PRESETS].index("small-sqlite-site") + 2
    code, screen = make_new("--verbose", typed=[str(number), "Blue Shop", "", ""])
    assert code == 0, screen
    assert prompted_questions(screen) == PERSONAL_QUESTIONS
    answers = recorded_answers(tmp_path / "out" / "blue-shop")
    assert answers.items() >= {name: str(value) for name, value in PRESETS["small-sqlite-site"].items()}.items()


@pytest.mark.parametrize("texts", TEXTS, ids=range(len(TEXTS)))
def test_typed_texts_are_used_unchanged(texts: dict[str, str], make_new: MakeNew, tmp_path: Path) -> None:
    """Typed texts are not rendered as Jinja templates, which cookiecutter does with arguments."""
    typed = [texts.get(name, "n" if isinstance(MANIFEST[name], bool) else "") for name in QUESTIONS]
    code, screen = make_new(typed=typed)
    assert code == 0, screen
    (project,) = (tmp_path / "out").iterdir()
    assert texts.items() <= recorded_answers(project).items()
    assert {name: recorded_answers(project)[name] for name in ("web_pages", "example_app")} == dict.fromkeys(
        ("web_pages", "example_app"), "False"
    )


def test_existing_folder_repeats_prompt(make_new: MakeNew, tmp_path: Path) -> None:
    """The name of an existing folder is rejected at its prompt, not after the last question."""
    (tmp_path / "out" / "my-service").mkdir(parents=True)
    code, screen = make_new(typed=["", "", "", *[""] * (len(QUESTIONS) - 2)])
    assert code == 0, screen
    assert prompted_questions(screen)[:4] == ["project_name", "project_slug", "project_slug", "package_name"]
    assert f"'my-service' is invalid: it exists in {tmp_path / 'out'}" in screen
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["my-service", "my-service-service"]


def test_conflicting_answers_repeat_prompts(make_new: MakeNew, template: Path, tmp_path: Path) -> None:
    """Only the prompts of the two conflicting answers are repeated."""
    first, second = [name for name, values in OPTIONS.items() if isinstance(values[0], str)][1:4:2]
    manifest = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    pair = {name: [OPTIONS[name][1]] for name in (first, second)}
    manifest["_conflicts"] = [[pair, "These values conflict: use another."]]
    (template / "cookiecutter.json").write_text(json.dumps(manifest), encoding="utf-8")
    # At the repeated prompt, the earlier answer is the first choice.
    typed = [line for name in QUESTIONS for line in {first: ["2"], second: ["2", "", "2"]}.get(name, [""])]
    code, screen = make_new(typed=typed, template=template)
    assert code == 0, screen
    reason = f"{first} = {pair[first][0]}, {second} = {pair[second][0]}: These values conflict: use another."
    assert screen.count(reason) == 1
    position = QUESTIONS.index(second) + 1
    assert prompted_questions(screen) == [*QUESTIONS[:position], first, second, *QUESTIONS[position:]]
    answers = recorded_answers(tmp_path / "out" / "my-service")
    assert [answers[name] for name in (first, second)] == [pair[first][0], OPTIONS[second][0]]


def test_hook_error_repeats_all_prompts(make_new: MakeNew, template: Path, tmp_path: Path) -> None:
    """After an error of the hook all prompts are repeated, with the former answers as defaults."""
    hook = template / "hooks" / "pre_gen_project.py"
    check = 'if answers["author_name"] == "Eve":\n    sys.exit("Not Eve.")\n'
    hook.write_text(hook.read_text(encoding="utf-8") + check, encoding="utf-8")
    first = {"project_name": "Blue Shop", "author_name": "Eve", "domain_name": "shop.example.com", "web_pages": "no"}
    second = {"author_name": "Ada"}
    typed = [answers.get(name, "") for answers in (first, second) for name in QUESTIONS]
    code, screen = make_new(typed=typed, template=template)
    assert code == 0, screen
    assert prompted_questions(screen) == QUESTIONS * 2
    assert "Not Eve." in screen
    assert "Traceback" not in screen
    answers = recorded_answers(tmp_path / "out" / "blue-shop")
    assert (first | second | {"web_pages": "False"}).items() <= answers.items()


PRESET = next(iter(PRESETS))


def test_preset_variable_leaves_personal_questions(make_new: MakeNew, tmp_path: Path) -> None:
    """With PRESET only the names of the project and the author and the email address are prompted for."""
    code, screen = make_new(PRESET=PRESET, typed=["Blue Shop", "Łukasz Żak", "lukasz@example.com"])
    assert code == 0, screen
    assert prompted_questions(screen) == PERSONAL_QUESTIONS
    answers = recorded_answers(tmp_path / "out" / "blue-shop")
    assert [answers[name] for name in PERSONAL_QUESTIONS] == ["Blue Shop", "Łukasz Żak", "lukasz@example.com"]
    assert {name: str(value) for name, value in PRESETS[PRESET].items()}.items() <= answers.items()


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ([], {"NAME": "Blue Shop"}, []),
        (["project_name=Blue Shop"], {}, []),
        (["--no-input"], {}, []),
        (["author_name=Ada"], {}, ["project_name", "author_email"]),
    ],
    ids=["name", "argument", "no-input", "author"],
)
def test_given_answers_are_not_prompted(
    arguments: list[str], variables: dict[str, str], expected: list[str], make_new: MakeNew
) -> None:
    """Questions whose answers are arguments or variables have no prompt."""
    code, screen = make_new(*arguments, PRESET=PRESET, typed=["", "", ""], **variables)
    assert code == 0, screen
    assert prompted_questions(screen) == expected


def test_preset_file_may_contain_author(make_new: MakeNew, tmp_path: Path) -> None:
    """If a preset file contains the author, only the name of the project is prompted for."""
    preset_file = tmp_path / "own.yaml"
    preset_file.write_text(
        "default_context: {author_name: Blue Team, author_email: blue@example.com}\n", encoding="utf-8"
    )
    code, screen = make_new(PRESET=str(preset_file), typed=["Blue Shop"])
    assert code == 0, screen
    assert prompted_questions(screen) == ["project_name"]
    assert recorded_answers(tmp_path / "out" / "blue-shop")["author_name"] == "Blue Team"


# --- invalid arguments ------------------------------------------------------------------------------------------------

INVALID_ARGUMENTS = {
    "databse=mysql": "ARGS: databse is not a question: did you mean database?",
    "_files=x": "ARGS: _files is not a question",
    "database=oracle": "ARGS: database = 'oracle' is not one of postgresql, mysql, mongodb, cassandra, sqlite, none",
    "python_version=3.10": "ARGS: python_version = '3.10' is not one of 3.13, 3.14, 3.12, 3.11",
    "web_pages=maybe": "ARGS: web_pages = 'maybe' is neither true nor false",
    "mysql": "'mysql' doesn't match that form",
    "--databse mysql": "No such option",
    "--config-file nowhere.yaml": "File nowhere.yaml does not exist. Use",
    "description='{{ x }}'": "Unable to render variable 'description': 'x' is undefined",
    "domain_name=localhost": "as an argument: domain_name=example.com",
    "author_email=ada domain_name=localhost": "as an argument: domain_name=example.com",
}


@pytest.mark.parametrize("arguments", INVALID_ARGUMENTS)
def test_invalid_argument_is_reported(arguments: str, tmp_path: Path, run: Run) -> None:
    """The last line before the error of make itself is one clear message."""
    result = run("make", "new", f"OUT={tmp_path / 'out'}", f"ARGS=--no-input {arguments}", cwd=TEMPLATE)
    assert result.returncode != 0
    lines = [*filter(None, result.stderr.splitlines())]
    assert lines[-1].startswith("make: *** ")
    assert INVALID_ARGUMENTS[arguments] in lines[-2]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not [*tmp_path.glob("out/*")]


def test_all_invalid_arguments_are_reported(tmp_path: Path, run: Run) -> None:
    """One message has a line for each error in the arguments and in the preset."""
    preset_file = tmp_path / "own.yaml"
    preset_file.write_text("default_context: {databse: sqlite, python_version: 3.14}\n", encoding="utf-8")
    for variables in (
        [f"PRESET={preset_file}", "ARGS=cache=x"],
        [f"ARGS=--config-file {preset_file} cache=x --no-input"],
    ):
        result = run("make", "new", f"OUT={tmp_path}", *variables, cwd=TEMPLATE)
        assert result.returncode != 0
        assert result.stderr.splitlines()[:5] == [
            "Nothing was written.",
            "",
            "  ARGS: cache = 'x' is not one of redis, memcached, filesystem, none",
            f"  {preset_file}: databse is not a question: did you mean database?",
            f'  {preset_file}: python_version = 3.14 is not one of 3.13, 3.14, 3.12, 3.11; write "3.14"',
        ]
    assert [*tmp_path.iterdir()] == [preset_file]


def test_invalid_value_in_user_config_fails(make_new: MakeNew, tmp_path: Path) -> None:
    """An invalid value in the configuration of cookiecutter is an error; cookiecutter would only warn."""
    (tmp_path / "settings.yaml").write_text(
        "default_context: {full_name: Ada, python_version: 3.14}\n", encoding="utf-8"
    )
    code, screen = make_new("--no-input", COOKIECUTTER_CONFIG=str(tmp_path / "settings.yaml"))
    assert code != 0
    assert "3.14 provided for choice variable python_version" in screen
    assert "Traceback" not in screen
    assert not [*tmp_path.glob("out/*")]


def test_preset_and_config_file_conflict(make_new: MakeNew) -> None:
    """PRESET together with --config-file is an error."""
    code, screen = make_new("--config-file", "x.yaml", PRESET=PRESET)
    assert code != 0
    assert "PRESET and --config-file both select a file of answers" in screen


def test_replay_file_needs_no_prompts(make_new: MakeNew, tmp_path: Path) -> None:
    """`--replay-file` of cookiecutter works, without prompts."""
    code, screen = make_new("--replay-file", str(TEMPLATE / "presets" / f"{PRESET}.json"))
    assert code == 0, screen
    assert prompted_questions(screen) == []
    assert PRESETS[PRESET].keys() <= recorded_answers(tmp_path / "out" / "my-service").keys()


def test_end_of_input_is_an_error(make_new: MakeNew, tmp_path: Path) -> None:
    """If the input ends early, the message names the option that skips all prompts."""
    code, screen = make_new(typed=["Blue Shop"])
    assert code != 0
    assert (
        "Nothing was written: the input ended before the last question. To skip all questions: ARGS=--no-input"
        in screen
    )
    assert "Traceback" not in screen
    assert not (tmp_path / "out").exists()


def test_control_c_prints_one_line(clean_env: dict[str, str], tmp_path: Path) -> None:
    """SIGINT at a prompt ends the script with one line and without a traceback."""
    command = [sys.executable, "-u", TEMPLATE / "scripts" / "new_project.py"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={**clean_env, "OUT": str(tmp_path)}, text=True, **streams) as process:  # type: ignore[call-overload]
        assert "Start from a preset" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() == "Stopped."
    assert [*tmp_path.iterdir()] == []


# --- output folder ---------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(template: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout in its own folder, with a link to the virtual environment."""
    folder = Path(shutil.move(template, tmp_path / "code" / "template"))
    for name in ("Makefile", "requirements.txt", "requirements-new.txt"):
        shutil.copy2(TEMPLATE / name, folder)
    (folder / ".venv").symlink_to(TEMPLATE / ".venv")
    return folder


def test_project_is_created_beside_checkout(checkout: Path, run: Run) -> None:
    """A folder inside the checkout is rejected unless OUT selects it."""
    before = {path.name for path in checkout.iterdir()}
    result = run("make", "new", "ARGS=--no-input", cwd=checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "cd ../my-service" in result.stdout
    for inside in (".", "projects", checkout):
        result = run("make", "new", f"ARGS=--no-input -o {inside}", cwd=checkout)
        assert result.returncode != 0
        assert "is inside the checkout of the template. To use it anyway, set OUT=" in result.stderr
    assert {path.name for path in checkout.iterdir()} == before
    assert {path.name for path in checkout.parent.iterdir()} == {"template", "my-service"}
    result = run("make", "new", "OUT=.", "ARGS=--no-input", cwd=checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (checkout / "my-service" / "Makefile").exists()


def test_unwritable_folder_is_reported_first(make_new: MakeNew) -> None:
    """The error is one line, before the first prompt."""
    code, screen = make_new("--no-input", OUT="/proc/projects")
    assert code != 0
    assert len(screen.strip().splitlines()) == 1, screen
    assert "/proc/projects" in screen


def test_make_new_installs_only_cookiecutter(checkout: Path, run: Run) -> None:
    """`make new` installs cookiecutter with its dependencies, but no test tools, and only once."""
    (checkout / ".venv").unlink()
    result = run("make", "new", "ARGS=--no-input", cwd=checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    (packages,) = checkout.glob(".venv/lib/python*/site-packages")
    assert (packages / "cookiecutter").exists()
    assert not (packages / "pytest").exists()
    assert len([*packages.glob("*.dist-info")]) <= 25
    again = run("make", "new", "ARGS=--no-input -f", cwd=checkout)
    assert "Setting up" in result.stdout
    assert "Setting up" not in again.stdout
    assert read_files(checkout.parent / "my-service")
