"""Tests of the template's documents: generated tables, links, and the commands, files and URLs that they name."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import Run
from tests.matrix import (
    COMBINATIONS,
    DEFAULT,
    MANIFEST,
    OPTIONS,
    PRESETS,
    TEMPLATE,
    Combination,
    Value,
    as_key,
    parametrize_combinations,
)
from tests.test_adding_an_option import RECIPES, read_steps

QUESTIONS = [name for name in MANIFEST if not name.startswith("_")]
DOCUMENTS = [*sorted(TEMPLATE.glob("*.md")), *sorted((TEMPLATE / "docs").rglob("*.md"))]
DECISIONS = TEMPLATE / "docs" / "decisions"


def read(name: str) -> str:
    """Return the text of a document."""
    return (TEMPLATE / name).read_text(encoding="utf-8")


def format_value(value: Value) -> str:
    """Return a value as a user types it."""
    return value if isinstance(value, str) else ("no", "yes")[value]


def table_row(name: str) -> str:
    """Return the row of a question: its values, default and label."""
    question, label = MANIFEST[name], MANIFEST["__prompts__"][name]
    derived = re.search(r"cookiecutter\.(\w+)", question) if isinstance(question, str) else None
    if name in OPTIONS:
        values, default = ", ".join(map(format_value, OPTIONS[name])), format_value(OPTIONS[name][0])
    else:
        values, default = "text", f"from `{derived[1]}`" if derived else question
    text = label["__prompt__"] if isinstance(label, dict) else label
    return f"| `{name}` | {values} | {default} | {text} |\n"


def check_table(document: str, name: str, table: str) -> None:
    """Compare a generated table of a document; UPDATE_DOCS=1 writes it."""
    pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    text = read(document)
    if os.environ.get("UPDATE_DOCS"):
        text = pattern.sub(lambda _: table, text, count=1)
        # The file is replaced atomically, because other tests read it at the same time.
        new = TEMPLATE / f"{document}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(TEMPLATE / document)
    assert pattern.findall(text) == [table], "UPDATE_DOCS=1 make test ARGS=tests/test_docs.py"


def purpose(preset: str) -> str:
    """Return the first line of a preset, which describes its purpose."""
    return read(f"presets/{preset}.yaml").partition("\n")[0].removeprefix("# ")


# Tests that write the same file run in one process.
@pytest.mark.xdist_group("README")
def test_readme_lists_all_options() -> None:
    """The table has each option with its values, the default first."""
    rows = (f"| `{name}` | {', '.join(map(format_value, values))} |\n" for name, values in OPTIONS.items())
    check_table("README.md", "options", "| option | values |\n|---|---|\n" + "".join(rows))


@pytest.mark.xdist_group("README")
def test_readme_lists_all_presets() -> None:
    """The table has each preset with the first line of its file."""
    rows = (f"| `{name}` | {purpose(name)} |\n" for name in PRESETS)
    check_table("README.md", "presets", "| preset | for |\n|---|---|\n" + "".join(rows))


@pytest.mark.xdist_group("README")
def test_options_page_lists_all_questions() -> None:
    """The table has each question of cookiecutter.json."""
    header = "| question | values | default | meaning |\n|---|---|---|---|\n"
    check_table("docs/options.md", "questions", header + "".join(map(table_row, QUESTIONS)))


@pytest.mark.xdist_group("README")
def test_options_page_lists_preset_answers() -> None:
    """The table has each preset with its answers."""
    table = "| preset | for | answers |\n|---|---|---|\n"
    for name, answers in PRESETS.items():
        chosen = ", ".join(f"`{question}` {format_value(value)}" for question, value in answers.items())
        table += f"| `{name}` | {purpose(name)} | {chosen} |\n"
    check_table("docs/options.md", "presets", table)


def test_readme_has_at_most_600_words() -> None:
    """The README is a landing page; everything else is in docs/."""
    words = [word for word in read("README.md").split() if re.search(r"\w", word)]
    assert len(words) <= 600


def test_options_page_explains_each_question() -> None:
    """The page has a section for each question, in order, with its values or the message of its validator."""
    page = read("docs/options.md")
    assert re.findall(r"(?m)^### `(\w+)`$", page) == QUESTIONS
    sections = dict(re.findall(r"(?ms)^### `(\w+)`$(.*?)(?=^##|\Z)", page))
    for name, section in sections.items():
        text = " ".join(section.split())
        if name in OPTIONS:
            assert all(f"`{as_key(value)}`" in text for value in OPTIONS[name]), name
        else:
            assert MANIFEST["_validators"][name]["message"] in text.replace("`", ""), name


def test_documented_make_targets_exist() -> None:
    """Each make target in a document is in the Makefile of the template or of the project."""
    options = sorted(path.relative_to(TEMPLATE) for path in TEMPLATE.glob("templates/**/Makefile"))
    makefiles = "".join(read(str(path)) for path in ("Makefile", "{{cookiecutter.project_slug}}/Makefile", *options))
    targets = set(re.findall(r"(?m)^([a-z-]+):", makefiles))
    command = re.compile(r"(?:`|^|&& )(?:[A-Z_]+=\S+ )*make ([a-z-]+)", re.MULTILINE)
    for path in DOCUMENTS:
        # The changelog names targets of old versions.
        if path.name != "CHANGELOG.md":
            assert set(command.findall(path.read_text(encoding="utf-8"))) <= targets, path


def test_layout_lists_existing_paths() -> None:
    """Each path in the layout of CONTRIBUTING.md exists."""
    tree = re.search(r"(?s)## Layout.*?```\n(.*?)```", read("CONTRIBUTING.md"))
    assert tree
    named = [word for line in tree[1].splitlines() for word in line.partition("  ")[0].split(", ")]
    assert named
    for word in named:
        assert (TEMPLATE / word).exists(), word


def links(text: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the anchor of each link in a Markdown text."""
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        link, _, anchor = unquote(target).partition("#")
        yield link, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_links_resolve(path: Path) -> None:
    """Each relative link leads to a file of this repository, and each anchor to a heading of that file."""
    for link, anchor in links(path.read_text(encoding="utf-8")):
        if ":" in link:
            continue
        target = path.parent / link if link else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*?)\s*$", target.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


def test_recipes_find_their_lines() -> None:
    """Each line that docs/adding-an-option.md names occurs exactly once in its file.

    This test is much faster than the tests that apply the recipes.
    """
    for step in (step for heading in RECIPES for step in read_steps(heading) if step.anchor):
        lines = [line.strip() for line in read(step.path).splitlines()]
        assert lines.count(step.anchor.strip()) == 1, f"{step.path}: {step.anchor}"


def test_decision_index_is_complete() -> None:
    """The index links each decision once by its title, and the numbers have no gaps."""
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    titles = {path.name: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in pages}
    entries = re.findall(r"(?m)^\* \[(.+)\]\((.+)\)$", read("docs/decisions/README.md"))
    assert {name: title for title, name in entries} == titles
    assert len(entries) == len(pages)
    assert [int(title.partition(".")[0]) for title in titles.values()] == [*range(1, len(pages) + 1)]


WITHOUT_DATABASE = next(
    combination
    for combination in COMBINATIONS
    if combination.options["database"] == "none"
    and combination.options["example_app"]
    and combination.options["task_queue"] != "none"
)


@parametrize_combinations([DEFAULT, WITHOUT_DATABASE])
def test_documented_urls_exist(combination: Combination, project: Path, venv_bin: Path, run: Run) -> None:
    """Each URL that docs/options.md lists is a route of a project."""
    (package,) = (project / "src").iterdir()
    flask = [venv_bin / "flask", "--app", f"{package.name}.wsgi", "routes"]
    result = run(*flask, cwd=project, PYTHONPATH="src", FLASK_DEBUG="1")
    assert result.returncode == 0, combination.id + result.stderr
    routes = set(re.findall(r"(?m) (/\S*)\s*$", re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", result.stdout)))
    section = read("docs/options.md").partition("\n## URLs of a project")[2].partition("\n## ")[0]
    cells = re.findall(r"(?m)^\| (`/.*?) \|", section)
    documented = {url for cell in cells for url in re.findall(r"`([^`]+)`", cell)}
    without_database = {"/api/v1/primes", "/api/v1/titles"}
    assert without_database < documented
    assert (without_database if combination == WITHOUT_DATABASE else documented - without_database) <= routes
