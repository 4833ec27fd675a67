"""What cannot make a project is refused before a file is written; what can is taken as it was typed."""

import json
import re
import shlex
import stat
import sys
from pathlib import Path

import pytest
from pytest_cookies.plugin import Cookies

from tests.answers import FULL, MANIFEST, OPTIONS, ROWS, TEMPLATE, TEXTS, Row, as_key, each, verbatim
from tests.conftest import Run

COOKIECUTTER = Path(sys.executable).with_name("cookiecutter")
LONG = "a" * 51

WRONG: list[tuple[str, str]] = [
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


def bake(run: Run, output: Path, *answers: str, template: Path = TEMPLATE) -> tuple[int, str]:
    """Run cookiecutter as a person does who types all answers at once; give its exit code and what it said."""
    output.mkdir(exist_ok=True)
    result = run(COOKIECUTTER, template, "--no-input", "-o", output, *answers, cwd=output.parent)
    return result.returncode, result.stdout + result.stderr


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file of a folder: its mode and its bytes. Secrets are apart."""
    return {
        str(path.relative_to(folder)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".env"
    }


def corrections(said: str) -> list[str]:
    """The answers that a refusal tells the person to type."""
    return [word for line in re.findall(r"(?m)^ *type: (.*)$", said) for word in shlex.split(line)]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}-{number}" for number, (name, _) in enumerate(WRONG)])
def test_a_wrong_answer(name: str, value: str, tmp_path: Path, run: Run) -> None:
    """It is refused by name, nothing is written, and what the message says to type is accepted."""
    output = tmp_path / "out"
    code, said = bake(run, output, f"{name}={verbatim(value)}")
    assert code != 0
    assert f"{name} = {value!r}" in said
    assert list(output.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

    typed = corrections(said)
    assert name in {answer.partition("=")[0] for answer in typed}
    code, said = bake(run, output, *typed)
    assert code == 0, said


def test_each_rule_has_a_wrong_answer() -> None:
    """No rule is left unproved."""
    assert MANIFEST["_rules"].keys() == {name for name, _ in WRONG}


def test_all_wrong_answers_at_once(tmp_path: Path, run: Run) -> None:
    """Nobody corrects one answer only to hear of the next."""
    first = {name: next(value for other, value in reversed(WRONG) if other == name) for name in MANIFEST["_rules"]}
    output = tmp_path / "out"
    code, said = bake(run, output, *(f"{name}={verbatim(value)}" for name, value in first.items()))
    assert code != 0
    assert all(f"{name} = {value!r}" in said for name, value in first.items())
    assert {answer.partition("=")[0] for answer in corrections(said)} == set(first)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("slug", ["../x", "a/b", "..", ".", "{absolute}", "../out/../y", "~"])
def test_a_slug_that_is_a_path(slug: str, tmp_path: Path, run: Run) -> None:
    """Nothing is written beside the output folder either, and what is there stays."""
    output = tmp_path / "parent" / "out"
    output.mkdir(parents=True)
    (output.parent / "x").mkdir()
    (output.parent / "x" / "kept").touch()
    asked = slug.format(absolute=tmp_path / "absolute")
    before = sorted(tmp_path.rglob("*"))
    code, said = bake(run, output, f"project_slug={asked}")
    assert code != 0
    assert f"project_slug = {asked!r}" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_forbidden_pair(template: Path, tmp_path: Path, run: Run) -> None:
    """Answers that exclude each other are refused with the reason, and any other pair is not."""
    one, other = list(OPTIONS)[:2]
    pair = {one: OPTIONS[one][-1], other: OPTIONS[other][-1]}
    manifest = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    manifest["_conflicts"] = [
        [{name: [value] for name, value in pair.items()}, "They do not go together: take another."]
    ]
    (template / "cookiecutter.json").write_text(json.dumps(manifest), encoding="utf-8")

    output = tmp_path / "out"
    typed = [f"{name}={as_key(value)}" for name, value in pair.items()]
    code, said = bake(run, output, *typed, "domain_name=localhost", template=template)
    assert code != 0
    assert "They do not go together: take another." in said
    assert all(f"{name} = {value}" in said for name, value in pair.items())
    assert "domain_name = 'localhost'" in said
    assert list(output.iterdir()) == []
    code, said = bake(run, output, typed[0], template=template)
    assert code == 0, said


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_that_is_no_choice(name: str, tmp_path: Path, run: Run) -> None:
    """Cookiecutter itself refuses it, and names the choices where there are any."""
    output = tmp_path / "out"
    code, said = bake(run, output, f"{name}=whatever")
    assert code != 0
    assert "whatever provided for" in said
    assert name in said
    assert list(output.iterdir()) == []


def test_a_table_that_names_no_file(template: Path, tmp_path: Path, run: Run) -> None:
    """A line of the table without its file is an error, never skipped."""
    manifest = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    manifest["_files"]["no/such/file"] = {next(iter(OPTIONS)): []}
    (template / "cookiecutter.json").write_text(json.dumps(manifest), encoding="utf-8")
    output = tmp_path / "out"
    code, said = bake(run, output, template=template)
    assert code != 0
    assert "no/such/file" in said
    assert list(output.iterdir()) == []


def test_a_folder_that_is_there(tmp_path: Path, run: Run) -> None:
    """A project of the same name is not touched, also when an answer is wrong."""
    output = tmp_path / "out"
    there = output / "my-service"
    there.mkdir(parents=True)
    (there / "kept").write_text("mine")
    for wrong in ((), ("domain_name=localhost",)):
        code, _ = bake(run, output, *wrong)
        assert code != 0
        assert [path.name for path in output.iterdir()] == ["my-service"]
        assert [path.name for path in there.iterdir()] == ["kept"]


def test_a_folder_with_spaces(tmp_path: Path, run: Run) -> None:
    """The path is no part of a command, save in the summary, where it is quoted."""
    output = tmp_path / "my projects & 'more'"
    code, said = bake(run, output)
    assert code == 0, said
    (command,) = re.findall(r"(?m)^ *(cd .*)$", said)
    assert (tmp_path / shlex.split(command)[1]).samefile(output / "my-service")


def test_the_summary(tmp_path: Path, run: Run) -> None:
    """It says what was chosen and the next two commands."""
    code, said = bake(run, tmp_path / "out", *(f"{name}={value}" for name, value in FULL.context.items()))
    assert code == 0, said
    typed = {name for name in MANIFEST if not name.startswith("_")}
    chosen = dict(re.findall(r"(?m)^  (\w+) {2,}(.+)$", said))
    assert chosen.keys() >= typed
    for name, value in FULL.options.items():
        assert chosen[name] == (("no", "yes")[value] if isinstance(value, bool) else value)
    for name, text in FULL.texts.items():
        assert chosen[name] == text
    assert [*map(said.count, ("  cd out/", "  make run ", "  make test "))] == [1, 1, 1]
    assert len(said.splitlines()) < 30


def test_secrets(cookies: Cookies) -> None:
    """`.env` is the example with secrets that nobody else has, and that only its owner reads."""
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


@each(row for row in ROWS if row.texts)
def test_all_ways_give_the_same_project(row: Row, project: Path, tmp_path: Path, run: Run) -> None:
    """The command, its module and a file of answers give what the API gives, byte for byte."""
    typed = [f"{name}={value}" for name, value in row.context.items()]
    ways = {
        "command": [COOKIECUTTER, TEMPLATE, "--no-input", *typed],
        "module": [sys.executable, "-m", "cookiecutter", TEMPLATE, "--no-input", *typed],
        "recorded": [COOKIECUTTER, TEMPLATE, "--no-input", "--config-file", project / ".template.yaml"],
    }
    for name, command in ways.items():
        result = run(*command, "-o", tmp_path / name, cwd=tmp_path, HOME=str(tmp_path / "home"))
        assert result.returncode == 0, name + result.stdout + result.stderr
        assert contents(tmp_path / name / project.name) == contents(project), name


def test_make_new_gives_the_same_project(tmp_path: Path, run: Run) -> None:
    """Its ARGS arrive as they were quoted."""
    answers = "--no-input project_name='Blue Shop' description='it'\\''s \"blue\"'"
    made = run("make", "new", f"ARGS={answers} -o '{tmp_path}/my projects'", cwd=TEMPLATE)
    assert made.returncode == 0, made.stdout + made.stderr
    code, said = bake(run, tmp_path / "out", "project_name=Blue Shop", 'description=it\'s "blue"')
    assert code == 0, said
    assert contents(tmp_path / "my projects" / "blue-shop") == contents(tmp_path / "out" / "blue-shop")


def test_a_person_types_at_the_prompts(tmp_path: Path, run: Run) -> None:
    """What is typed is taken as it is; a wrong choice is asked again; enter takes the default."""
    texts = TEXTS[2]
    typed = []
    for name, question in MANIFEST.items():
        if isinstance(question, list):
            typed += ["99", str(len(question))]
        elif not name.startswith("_"):
            typed.append(texts.get(name, "no" if isinstance(question, bool) else ""))
    result = run(COOKIECUTTER, TEMPLATE, "-o", tmp_path / "typed", cwd=tmp_path, typed="\n".join(typed) + "\n")
    assert result.returncode == 0, result.stdout + result.stderr
    labels = MANIFEST["__prompts__"].values()
    assert all((label if isinstance(label, str) else label["__prompt__"]) in result.stdout for label in labels)

    answers = [f"{name}={verbatim(text)}" for name, text in texts.items()]
    answers += [f"{name}={as_key(values[-1])}" for name, values in OPTIONS.items()]
    code, said = bake(run, tmp_path / "out", *answers)
    assert code == 0, said
    (one,), (other,) = ((tmp_path / name).iterdir() for name in ("typed", "out"))
    assert contents(one) == contents(other)


def test_nothing_is_run_or_fetched(tmp_path: Path, run: Run) -> None:
    """A bake needs no program on the path and no network, and starts no repository."""
    proxy = "http://127.0.0.1:9"
    output = tmp_path / "out"
    variables = {"PATH": str(tmp_path / "empty"), "http_proxy": proxy, "https_proxy": proxy}
    result = run(COOKIECUTTER, TEMPLATE, "--no-input", "-o", output, cwd=tmp_path, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (output / "my-service" / ".git").exists()
