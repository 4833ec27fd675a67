"""Create a project from this checkout: `make new`.

Cookiecutter validates texts after the last question, ignores unknown names, and drops the rest of a file after the
first invalid value. This script validates each answer when it is given, with the validators that the hooks use.
"""

import json
import keyword
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource
from cookiecutter.cli import main as command
from cookiecutter.config import get_user_config
from cookiecutter.exceptions import (
    CookiecutterException,
    FailedHookException,
    OutputDirExistsException,
    UndefinedVariableInTemplate,
)
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import YesNoPrompt, read_user_choice, read_user_variable, read_user_yes_no, render_variable
from cookiecutter.utils import create_env_with_context

TEMPLATE = Path(__file__).resolve().parent.parent
PRESETS = TEMPLATE / "presets"
MANIFEST = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = {name: question for name, question in MANIFEST.items() if not name.startswith("_")}
# The question whose answer becomes the folder name.
FOLDER = "project_slug"
# The remaining questions when a preset is used.
PERSONAL = ("project_name", "author_name", "author_email")
# The choice that selects no preset.
CUSTOM = "custom"
YES_OR_NO = {*YesNoPrompt.yes_choices, *YesNoPrompt.no_choices}
RESERVED = {*sys.stdlib_module_names, *keyword.kwlist, *MANIFEST["_reserved_names"]}

Answers = dict[str, Any]


def find_preset(preset: str) -> Path:
    """Return the path of a preset: a name selects one of the template, a path a file of the user."""
    path = Path(preset).expanduser()
    return path if path.suffix or len(path.parts) > 1 else PRESETS / f"{preset}.yaml"


def choose_preset() -> str:
    """Prompt for a preset; return its name, or an empty string for none."""
    purposes = {}
    for path in sorted(PRESETS.glob("*.yaml")):
        purpose = path.read_text(encoding="utf-8").partition("\n")[0].strip("# .")
        purposes[path.stem] = f"{purpose} ({path.stem})"
    labels = {"__prompt__": "Start from a preset, or answer each question", CUSTOM: "Answer each question", **purposes}
    choice = read_user_choice("preset", [CUSTOM, *purposes], {"preset": labels}, "  ")
    return "" if choice == CUSTOM else str(choice)


def read_preset(path: Path) -> object:
    """Read a file of answers."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        missing = f"Preset {path.stem}" if path.parent == PRESETS else f"File {path}"
        sys.exit(f"{missing} does not exist. Use {known}, or the path of your own file.")
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"Cannot read {path}: {' '.join(str(error).split())}")


def find_preset_errors(content: object) -> Iterator[str]:
    """Yield the errors of a preset file."""
    answers = content.get("default_context") if isinstance(content, dict) else None
    if not isinstance(answers, dict):
        yield "expected answers below `default_context:`, as `name: value`"
        return
    yield from find_errors(answers)
    for name, text in answers.items():
        # cookiecutter renders a text with a brace, and the hook validates the result.
        is_plain = name in MANIFEST["_validators"] and isinstance(text, str) and "{" not in text
        if is_plain and (error := find_text_error(name, text)):
            yield f"{name} = {text!r} is invalid: it {error}"


def find_errors(answers: Mapping[str, object]) -> Iterator[str]:
    """Yield the unknown names and invalid values of answers."""
    for name, value in answers.items():
        question = QUESTIONS.get(name)
        if question is None:
            close = get_close_matches(str(name), QUESTIONS, n=1)
            yield f"{name} is not a question" + (f": did you mean {close[0]}?" if close else "")
        elif isinstance(question, list) and value not in question:
            quoted = f'; write "{value}"' if str(value) in question else ""
            yield f"{name} = {value!r} is not one of {', '.join(question)}{quoted}"
        elif isinstance(question, bool) and not isinstance(value, bool) and str(value).lower() not in YES_OR_NO:
            yield f"{name} = {value!r} is neither true nor false"
        elif isinstance(question, str) and not isinstance(value, str):
            yield f"{name} = {value!r} is not a text: quote it"


def find_text_error(name: str, text: str) -> str:
    """Return the validation error of a text, or an empty string, as in hooks/pre_gen_project.py."""
    validator = MANIFEST["_validators"][name]
    if not re.fullmatch(validator["pattern"], text):
        return str(validator["message"])
    if validator.get("must_be_available") and text.replace("-", "_") in RESERVED:
        return "is the name of a module that Python or the project already has"
    return ""


def as_literal(text: str) -> str:
    """Return a Jinja expression for a text, because cookiecutter renders answers that are passed to it."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


@dataclass
class Project:
    """A project to create: its parent folder, the options of cookiecutter, and the answers so far."""

    output: Path
    options: dict[str, Any]
    given: Answers

    def prompt(self, names: Iterable[str]) -> None:
        """Prompt for these questions; repeat those with conflicting answers."""
        pending = list(names)
        answers: Answers = {}
        while pending:
            name = pending.pop(0)
            answers[name] = answer = self.prompt_one(name, answers)
            self.given[name] = as_literal(answer) if isinstance(QUESTIONS[name], str) else answer
            for forbidden, reason in MANIFEST["_conflicts"]:
                if all(other in answers and answers[other] in values for other, values in forbidden.items()):
                    given = ", ".join(f"{other} = {answers.pop(other)}" for other in forbidden)
                    print(f"\n  {given}: {reason}\n")
                    pending = [other for other in QUESTIONS if other in forbidden or other in pending]

    def prompt_one(self, name: str, answers: Answers) -> Any:  # noqa: ANN401 - a string or a boolean
        """Prompt until the answer is valid; the default is an earlier answer."""
        if name in MANIFEST["_groups"]:
            print(f"\n  {MANIFEST['_groups'][name]}\n")
        settings = get_user_config(self.options["config_file"], self.options["default_config"])
        context = generate_context(str(TEMPLATE / "cookiecutter.json"), settings["default_context"], self.given)
        question = context["cookiecutter"][name]
        labels = (MANIFEST["__prompts__"], f"  [dim][{[*QUESTIONS].index(name) + 1}/{len(QUESTIONS)}][/] ")
        if isinstance(question, list):
            return read_user_choice(name, question, *labels)
        if isinstance(question, bool):
            return read_user_yes_no(name, question, *labels)
        env = create_env_with_context(context)
        default = render_variable(env, question, answers)
        while error := self.find_error(name, text := read_user_variable(name, default, *labels)):
            given = {**QUESTIONS, **answers, name: text, f"_given_{name}": text}
            suggestions = next(others for other, *others in MANIFEST["__suggestions"] if other == name)
            good = (other for other in render_variable(env, suggestions, given) if not self.find_error(name, other))
            default = next(good, default)
            print(f"  {text!r} is invalid: it {error}")
        return text

    def find_error(self, name: str, text: str) -> str:
        """Return the validation error of a text, or the error that the project's folder exists."""
        if error := find_text_error(name, text):
            return error
        is_new = name != FOLDER or self.options["overwrite_if_exists"] or not (self.output / text).exists()
        return "" if is_new else f"exists in {self.output}: choose another name"

    def render(self) -> None:
        """Render the project without prompts."""
        cookiecutter(str(TEMPLATE), output_dir=str(self.output), extra_context=self.given or None, **self.options)


def read_arguments(arguments: list[str], preset: str, name: str, out: str) -> tuple[Project, list[str]]:
    """Parse the arguments of `make new`; return a project and the remaining questions."""
    context = command.make_context("make new", [str(TEMPLATE), *arguments])
    params = context.params
    given = ({"project_name": as_literal(name)} if name else {}) | (params["extra_context"] or {})
    errors = [f"ARGS: {error}" for error in find_errors(given)]
    answered = {*given}
    replay = params["replay_file"] or params["replay"]
    if not (preset or given or errors or replay or params["no_input"] or params["config_file"]):
        preset = choose_preset()
    if preset and params["config_file"]:
        raise click.UsageError("PRESET and --config-file both select a file of answers: use one of them.", context)
    if file := str(find_preset(preset)) if preset else params["config_file"]:
        content = read_preset(Path(file))
        errors += [f"{file}: {error}" for error in find_preset_errors(content)]
        answered |= {*content["default_context"]} if not errors and isinstance(content, dict) else set()
    if errors:
        sys.exit("Nothing was written.\n\n  " + "\n  ".join(errors))

    named = context.get_parameter_source("output_dir") is ParameterSource.COMMANDLINE
    output = Path(params["output_dir"] if named else out or TEMPLATE.parent).expanduser().resolve()
    if named and output.is_relative_to(TEMPLATE):
        sys.exit(
            f"Nothing was written: {output} is inside the checkout of the template. To use it anyway, set OUT={output}"
        )
    if not os.access(next(path for path in (output, *output.parents) if path.exists()), os.W_OK):
        sys.exit(f"Nothing was written: {output} is not writable. Use another folder: make new OUT=…")

    options = {
        name: params[name]
        for name in (
            *("checkout", "default_config", "directory", "keep_project_on_failure"),
            *("overwrite_if_exists", "skip_if_file_exists"),
        )
    } | {"config_file": file, "replay": replay, "no_input": not replay, "accept_hooks": params["accept_hooks"] != "no"}
    if params["no_input"] or replay or (preset and "project_name" in answered):
        questions = []
    else:
        questions = [name for name in (PERSONAL if preset else QUESTIONS) if not preset or name not in answered]
    return Project(output, options, given), questions


def create(project: Project, questions: list[str]) -> None:
    """Prompt and render; after a validation error, repeat all questions with the answers as defaults."""
    if questions:
        print(f"The project is created in {project.output}; OUT=… selects another folder. Enter accepts a default.\n")
    while True:
        project.prompt(questions)
        try:
            return project.render()
        except FailedHookException:
            message = ""  # the hook has printed the error
        except OutputDirExistsException as error:
            message = str(error)
        if not questions:
            sys.exit(message or 1)
        print(f"{message}\nYour answers are the defaults now: Enter accepts them.\n")
        questions = [*QUESTIONS]


def main() -> None:
    """Create a project, or exit with one clear message."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    # cookiecutter would log a traceback below the message of a hook.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    # cookiecutter would only warn about an invalid value, and ignore the rest of the file.
    warnings.simplefilter("error", UserWarning)
    try:
        create(*read_arguments(sys.argv[1:], *(os.environ.get(name, "") for name in ("PRESET", "NAME", "OUT"))))
    except UndefinedVariableInTemplate as error:
        sys.exit(f"{error.message}: {error.error.message}")
    except (CookiecutterException, UserWarning, OSError) as error:
        sys.exit(str(error))
    except EOFError:
        sys.exit(
            "\nNothing was written: the input ended before the last question. To skip all questions: ARGS=--no-input"
        )
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)


if __name__ == "__main__":
    main()
