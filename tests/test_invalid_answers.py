"""Tests of answers: invalid ones are rejected before a file is written, valid ones are used unchanged."""

import json
import re
import shlex
import shutil
import stat
import sys
from pathlib import Path

import pytest
from pytest_cookies.plugin import Cookies

from tests.conftest import Run, copy_template
from tests.matrix import (
    ALL_VALUES,
    COMBINATIONS,
    FULL,
    MANIFEST,
    OPTIONS,
    PROJECT,
    TEMPLATE,
    TEXTS,
    Answers,
    Combination,
    as_key,
    covering,
    is_valid,
    parametrize_combinations,
    values_of,
    verbatim,
)

COOKIECUTTER = Path(sys.executable).with_name("cookiecutter")
LONG = "a" * 51
# These combinations have every value of every option and all free texts.
TYPED = covering(
    lambda combination: [*values_of(combination), *combination.texts.items()],
    [combination for combination in COMBINATIONS if combination.texts],
)

INVALID_ANSWERS: list[tuple[str, str]] = [
    *(
        ("project_name", text)
        for text in ("", "   ", "!!!", "-", "..", "a/b", "a\nb", "a\x07b", "9\x7f", "x" * 51, "🛒")
    ),
    *(("project_slug", text) for text in ("", "9lives", "Blue-Shop", "blue_shop", "a--b", "a-", LONG, "a b")),
    *(("project_slug", text) for text in ("../x", "a/b", "..", ".", "a\nb", "a\x00b"[:1] + "\x1b", "ünïcode", "a\\b")),
    *(("project_slug", text) for text in ("class", "json", "flask", "celery", "test", "redis", "site")),
    *(("package_name", text) for text in ("", "9lives", "Blue", "blue-shop", "a__b", "_a", "a_", LONG, "a b", "a.b")),
    *(
        ("package_name", text)
        for text in ("../x", "a/b", "..", "a\nb", "lambda", "email", "sqlalchemy", "site", "tests")
    ),
    *(("description", text) for text in ("", "  ", "a\nb", "a\tb", "a\x1b[31mb", "a\u2028b", "x" * 201)),
    *(("author_name", text) for text in ("", " ", "a\nb", "a\x9bb", "x" * 101)),
    *(
        ("author_email", text)
        for text in ("", "ada", "ada@", "@example.com", "a b@example.com", "a@b", "a@b.c\n", "a@-b.com")
    ),
    *(("domain_name", text) for text in ("", "localhost", "https://example.com", "example.com/", "example.com:80")),
    *(
        ("domain_name", text)
        for text in ("Example.com", "-a.com", "a..com", "a b.com", "example.com\n", "a." * 130 + "com")
    ),
]


def run_cookiecutter(run: Run, folder: Path, *answers: str, template: Path = TEMPLATE) -> tuple[int, str]:
    """Run the cookiecutter command with all answers as arguments; return its exit code and output."""
    folder.mkdir(exist_ok=True)
    result = run(COOKIECUTTER, template, "--no-input", "-o", folder, *answers, cwd=folder.parent)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template with only the files that the hooks need: they accept and reject the same answers, sooner."""
    copy = copy_template(tmp_path_factory.mktemp("small") / "template")
    for path in (copy / PROJECT.name).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in {".env.example", ".template.yaml"}:
            path.unlink()
    manifest = json.loads((copy / "cookiecutter.json").read_text(encoding="utf-8"))
    (copy / "cookiecutter.json").write_text(json.dumps(manifest | {"_files": {}}), encoding="utf-8")
    return copy


def read_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and the content of each file of a folder by its path, except `.env` with its secrets."""
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".env"
    }


def suggested_arguments(output: str) -> list[str]:
    """Return the arguments that an error message suggests."""
    return [word for line in re.findall(r"(?m)^ *as an argument: (.*)$", output) for word in shlex.split(line)]


@pytest.mark.parametrize(
    ("name", "value"), INVALID_ANSWERS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(INVALID_ANSWERS)]
)
def test_invalid_answer_is_rejected(name: str, value: str, tmp_path: Path, small_template: Path, run: Run) -> None:
    """The error names the answer, nothing is written, and the suggested arguments are accepted."""
    folder = tmp_path / "out"
    code, output = run_cookiecutter(run, folder, f"{name}={verbatim(value)}")
    assert code != 0
    assert f"{name} = {value!r}" in output
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    arguments = suggested_arguments(output)
    assert name in {answer.partition("=")[0] for answer in arguments}
    code, output = run_cookiecutter(run, folder, *arguments, template=small_template)
    assert code == 0, output


def test_each_validator_has_invalid_answers() -> None:
    """`INVALID_ANSWERS` covers all validators."""
    assert MANIFEST["_validators"].keys() == {name for name, _ in INVALID_ANSWERS}


def test_all_invalid_answers_are_reported(tmp_path: Path, run: Run) -> None:
    """One error message names all invalid answers."""
    first = {
        name: next(value for other, value in reversed(INVALID_ANSWERS) if other == name)
        for name in MANIFEST["_validators"]
    }
    folder = tmp_path / "out"
    code, output = run_cookiecutter(run, folder, *(f"{name}={verbatim(value)}" for name, value in first.items()))
    assert code != 0
    assert all(f"{name} = {value!r}" in output for name, value in first.items())
    assert {answer.partition("=")[0] for answer in suggested_arguments(output)} == set(first)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("slug", ["../x", "a/b", "..", ".", "{absolute}", "../out/../y", "~"])
def test_path_as_slug_is_rejected(slug: str, tmp_path: Path, run: Run) -> None:
    """Nothing is written outside of the output folder, and existing files are unchanged."""
    folder = tmp_path / "parent" / "out"
    folder.mkdir(parents=True)
    (folder.parent / "x").mkdir()
    (folder.parent / "x" / "existing").touch()
    answer = slug.format(absolute=tmp_path / "absolute")
    before = sorted(tmp_path.rglob("*"))
    code, output = run_cookiecutter(run, folder, f"project_slug={answer}")
    assert code != 0
    assert f"project_slug = {answer!r}" in output
    assert sorted(tmp_path.rglob("*")) == before


def test_conflicting_answers_are_rejected(template: Path, tmp_path: Path, run: Run) -> None:
    """Conflicting answers are rejected with the reason; each of them alone is accepted."""
    one, other = list(OPTIONS)[:2]
    pair = {one: OPTIONS[one][-1], other: OPTIONS[other][-1]}
    manifest = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    manifest["_conflicts"] = [[{name: [value] for name, value in pair.items()}, "These values conflict: use another."]]
    (template / "cookiecutter.json").write_text(json.dumps(manifest), encoding="utf-8")

    folder = tmp_path / "out"
    arguments = [f"{name}={as_key(value)}" for name, value in pair.items()]
    code, output = run_cookiecutter(run, folder, *arguments, "domain_name=localhost", template=template)
    assert code != 0
    assert "These values conflict: use another." in output
    assert all(f"{name} = {value}" in output for name, value in pair.items())
    assert "domain_name = 'localhost'" in output
    assert list(folder.iterdir()) == []
    code, output = run_cookiecutter(run, folder, arguments[0], template=template)
    assert code == 0, output


@pytest.mark.parametrize("name", OPTIONS)
def test_unknown_choice_is_rejected(name: str, tmp_path: Path, run: Run) -> None:
    """Cookiecutter itself rejects the value, and names the question."""
    folder = tmp_path / "out"
    code, output = run_cookiecutter(run, folder, f"{name}=unknown")
    assert code != 0
    assert "unknown provided for" in output
    assert name in output
    assert list(folder.iterdir()) == []


def test_missing_file_in_table_is_an_error(template: Path, tmp_path: Path, run: Run) -> None:
    """A path in `_files` that does not exist in the template is an error."""
    manifest = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    manifest["_files"]["no/such/file"] = {next(iter(OPTIONS)): []}
    (template / "cookiecutter.json").write_text(json.dumps(manifest), encoding="utf-8")
    folder = tmp_path / "out"
    code, output = run_cookiecutter(run, folder, template=template)
    assert code != 0
    assert "no/such/file" in output
    assert list(folder.iterdir()) == []


def test_existing_folder_is_unchanged(tmp_path: Path, run: Run) -> None:
    """An existing folder with the name of the project is unchanged, with valid and with invalid answers."""
    folder = tmp_path / "out"
    existing = folder / "my-service"
    existing.mkdir(parents=True)
    (existing / "file").write_text("content")
    for wrong in ((), ("domain_name=localhost",)):
        code, _ = run_cookiecutter(run, folder, *wrong)
        assert code != 0
        assert [path.name for path in folder.iterdir()] == ["my-service"]
        assert [path.name for path in existing.iterdir()] == ["file"]


def test_folder_with_special_characters(tmp_path: Path, run: Run) -> None:
    """The output folder may have spaces and quotes; the summary prints it quoted."""
    folder = tmp_path / "my projects & 'more'"
    code, output = run_cookiecutter(run, folder)
    assert code == 0, output
    (command,) = re.findall(r"(?m)^ *(cd .*)$", output)
    assert (tmp_path / shlex.split(command)[1]).samefile(folder / "my-service")


def test_summary_lists_all_answers(tmp_path: Path, run: Run) -> None:
    """The summary has each answer, and fewer than 36 lines."""
    code, output = run_cookiecutter(run, tmp_path / "out", *(f"{name}={value}" for name, value in FULL.context.items()))
    assert code == 0, output
    questions = {name for name in MANIFEST if not name.startswith("_")}
    chosen = dict(re.findall(r"(?m)^  (\w+) {2,}(.+)$", output))
    assert chosen.keys() >= questions
    for name, value in FULL.options.items():
        assert chosen[name] == (("no", "yes")[value] if isinstance(value, bool) else value)
    for name, text in FULL.texts.items():
        assert chosen[name] == text
    assert len(output.splitlines()) < 36


def test_env_file_has_random_secrets(cookies: Cookies) -> None:
    """`.env` equals `.env.example` with random secrets, and only its owner can read it."""
    paths = [cookies.bake().project_path / ".env" for _ in range(2)]
    found = [re.findall(r"\b[0-9a-f]{64}\b", path.read_text(encoding="utf-8")) for path in paths]
    secrets = [secret for each_project in found for secret in each_project]
    example = (paths[0].parent / ".env.example").read_text(encoding="utf-8")
    assert found[0]
    assert len(found[0]) == example.count("<secret>")
    assert len({*secrets}) == len(secrets)
    for path in paths:
        rest = re.sub("|".join(secrets), "", path.read_text(encoding="utf-8"))
        assert not re.search(r"<secret>|[0-9a-f]{64}", rest)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@parametrize_combinations(TYPED)
def test_cookiecutter_commands_render_equal_projects(
    combination: Combination, project: Path, tmp_path: Path, run: Run
) -> None:
    """The command, a file of answers and, for one combination, the Python module render the same files as the API.

    The combinations have every value of every option and all free texts.
    """
    arguments = [f"{name}={value}" for name, value in combination.context.items()]
    commands = {
        "command": [COOKIECUTTER, TEMPLATE, "--no-input", *arguments],
        "recorded": [COOKIECUTTER, TEMPLATE, "--no-input", "--config-file", project / ".template.yaml"],
    }
    if combination is FULL:
        commands["module"] = [sys.executable, "-m", "cookiecutter", TEMPLATE, "--no-input", *arguments]
    for name, command in commands.items():
        result = run(*command, "-o", tmp_path / name, cwd=tmp_path, HOME=str(tmp_path / "home"))
        assert result.returncode == 0, name + result.stdout + result.stderr
        assert read_files(tmp_path / name / project.name) == read_files(project), name


def test_commands_get_each_value_and_text() -> None:
    """The combinations of `test_cookiecutter_commands_render_equal_projects` have all values and all texts."""
    assert {value for combination in TYPED for value in combination.options.items()} == ALL_VALUES
    texts = [text for text in TEXTS if any(text.items() <= combination.texts.items() for combination in TYPED)]
    assert texts == TEXTS


def test_make_new_renders_an_equal_project(tmp_path: Path, run: Run) -> None:
    """`make new` passes quoted arguments in ARGS unchanged."""
    answers = "--no-input project_name='Blue Shop' description='it'\\''s \"blue\"'"
    result = run("make", "new", f"ARGS={answers} -o '{tmp_path}/my projects'", cwd=TEMPLATE)
    assert result.returncode == 0, result.stdout + result.stderr
    code, output = run_cookiecutter(run, tmp_path / "out", "project_name=Blue Shop", 'description=it\'s "blue"')
    assert code == 0, output
    assert read_files(tmp_path / "my projects" / "blue-shop") == read_files(tmp_path / "out" / "blue-shop")


def test_prompts_accept_typed_answers(tmp_path: Path, run: Run) -> None:
    """Typed texts are used unchanged, an invalid choice repeats the prompt, and Enter selects the default."""
    texts = TEXTS[2]
    # The last value of each question that is valid together with those before it.
    chosen: Answers = {}
    for name, values in OPTIONS.items():
        chosen[name] = next(value for value in reversed(values) if is_valid({**chosen, name: value}))
    lines = []
    for name, question in MANIFEST.items():
        if isinstance(question, list) and name in chosen:
            lines += ["99", str(question.index(chosen[name]) + 1)]
        elif not name.startswith("_"):
            lines.append(texts.get(name, "no" if isinstance(question, bool) else ""))
    result = run(COOKIECUTTER, TEMPLATE, "-o", tmp_path / "typed", cwd=tmp_path, typed="\n".join(lines) + "\n")
    assert result.returncode == 0, result.stdout + result.stderr
    labels = MANIFEST["__prompts__"].values()
    assert all((label if isinstance(label, str) else label["__prompt__"]) in result.stdout for label in labels)

    answers = [f"{name}={verbatim(text)}" for name, text in texts.items()]
    answers += [f"{name}={as_key(value)}" for name, value in chosen.items()]
    code, output = run_cookiecutter(run, tmp_path / "out", *answers)
    assert code == 0, output
    (one,), (other,) = ((tmp_path / name).iterdir() for name in ("typed", "out"))
    assert read_files(one) == read_files(other)


def test_render_needs_no_program_and_no_network(tmp_path: Path, run: Run) -> None:
    """The render succeeds with an empty PATH and an unreachable proxy, and creates no git repository."""
    proxy = "http://127.0.0.1:9"
    folder = tmp_path / "out"
    variables = {"PATH": str(tmp_path / "empty"), "http_proxy": proxy, "https_proxy": proxy}
    result = run(COOKIECUTTER, TEMPLATE, "--no-input", "-o", folder, cwd=tmp_path, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (folder / "my-service" / ".git").exists()
