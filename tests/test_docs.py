"""The documents say what is so: tables are derived, links resolve, and what they name is there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.answers import DEFAULT, MANIFEST, OPTIONS, PRESETS, ROWS, TEMPLATE, Row, Value, as_key, each
from tests.conftest import Run
from tests.test_source import INDEX_FILES

QUESTIONS = [name for name in MANIFEST if not name.startswith("_")]
DOCUMENTS = [*sorted(TEMPLATE.glob("*.md")), *sorted((TEMPLATE / "docs").glob("*.md"))]
TABLE = re.compile(r"(?<=<!-- options -->\n).*?(?=<!-- /options -->)", re.DOTALL)
PRESET_TABLE = re.compile(r"(?<=<!-- presets -->\n).*?(?=<!-- /presets -->)", re.DOTALL)


def read(name: str) -> str:
    """A document's text."""
    return (TEMPLATE / name).read_text(encoding="utf-8")


def shown(value: Value) -> str:
    """A value as a person answers it."""
    return value if isinstance(value, str) else ("no", "yes")[value]


def row_of(name: str) -> str:
    """A question's line in the table: its values, its default, its label."""
    question, label = MANIFEST[name], MANIFEST["__prompts__"][name]
    derived = re.search(r"cookiecutter\.(\w+)", question) if isinstance(question, str) else None
    if name in OPTIONS:
        values, default = ", ".join(map(shown, OPTIONS[name])), shown(OPTIONS[name][0])
    else:
        values, default = "text", f"from `{derived[1]}`" if derived else question
    told = label["__prompt__"] if isinstance(label, dict) else label
    return f"| `{name}` | {values} | {default} | {told} |\n"


def hold(place: re.Pattern[str], table: str) -> None:
    """See a table where it belongs in the README; UPDATE_DOCS=1 writes it anew."""
    text = read("README.md")
    if os.environ.get("UPDATE_DOCS"):
        text = place.sub(lambda _: table, text, count=1)
        # Whole at any moment: other tests read it meanwhile.
        new = TEMPLATE / "README.md.new"
        new.write_text(text, encoding="utf-8")
        new.replace(TEMPLATE / "README.md")
    assert place.findall(text) == [table], "UPDATE_DOCS=1 make test ARGS=tests/test_docs.py"


# Two processes would write one file.
@pytest.mark.xdist_group("README")
def test_table_of_options() -> None:
    """It is what cookiecutter.json asks."""
    hold(TABLE, "| question | values | default | what it is |\n|---|---|---|---|\n" + "".join(map(row_of, QUESTIONS)))


@pytest.mark.xdist_group("README")
def test_table_of_presets() -> None:
    """It is what the files say, each in its first line."""
    table = "| preset | what it is for | answers |\n|---|---|---|\n"
    for name, answers in PRESETS.items():
        comment = read(f"presets/{name}.yaml").partition("\n")[0].removeprefix("# ")
        chosen = ", ".join(f"`{question}` {shown(value)}" for question, value in answers.items())
        table += f"| `{name}` | {comment} | {chosen} |\n"
    hold(PRESET_TABLE, table)


def test_each_question_is_explained() -> None:
    """In the order in which they are asked, with the rule that the hook holds and each value."""
    text = read("docs/options.md")
    assert re.findall(r"(?m)^### `(\w+)`$", text) == QUESTIONS
    sections = dict(re.findall(r"(?ms)^### `(\w+)`$(.*?)(?=^##|\Z)", text))
    for name, section in sections.items():
        told = " ".join(section.split())
        if name in OPTIONS:
            assert all(f"`{as_key(value)}`" in told for value in OPTIONS[name]), name
        else:
            assert MANIFEST["_rules"][name]["must"] in told.replace("`", ""), name


def test_each_index_file_is_named() -> None:
    """The closed list that people read is the one that the test of the source holds."""
    named = set(re.findall(r"(?m)^\| `([^`]+)` \|", read("CONTRIBUTING.md").partition("\n## Index files")[2]))
    assert named == {path.replace("src/{{cookiecutter.package_name}}/", "PACKAGE/") for path in INDEX_FILES}


def test_verbs_are_there() -> None:
    """A verb that a document tells to type is in the Makefile of the template or of the project."""
    makefiles = read("Makefile") + read("{{cookiecutter.project_slug}}/Makefile")
    verbs = set(re.findall(r"(?m)^([a-z]+):", makefiles))
    command = re.compile(r"(?:`|^|&& )(?:[A-Z_]+=\S+ )*make ([a-z]+)", re.MULTILINE)
    for path in DOCUMENTS:
        assert set(command.findall(path.read_text(encoding="utf-8"))) <= verbs, path


def test_layout() -> None:
    """The README's list of the repository names what there is."""
    tree = re.search(r"(?s)## Layout.*?```\n(.*?)```", read("README.md"))
    assert tree
    named = [word for line in tree[1].splitlines() for word in line.partition("  ")[0].split(", ")]
    assert named
    for word in named:
        assert (TEMPLATE / word).exists(), word


def links(text: str) -> Iterator[tuple[str, str]]:
    """The file and the heading that each link names."""
    prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        address, _, anchor = unquote(target).partition("#")
        yield address, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(path: Path) -> None:
    """A link leads to a file of this repository, and to a heading of that file."""
    for address, anchor in links(path.read_text(encoding="utf-8")):
        if ":" in address:
            continue
        target = path.parent / address if address else path
        assert target.exists(), address
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*?)\s*$", target.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


WITHOUT_DATABASE = next(row for row in ROWS if row.options["database"] == "none" and row.options["example_app"])


@each([DEFAULT, WITHOUT_DATABASE])
def test_addresses(row: Row, project: Path, environment: Path, run: Run) -> None:
    """What the README says to answer in a project is among its routes."""
    (package,) = (project / "src").iterdir()
    flask = [environment / "flask", "--app", f"{package.name}.wsgi", "routes"]
    routes = run(*flask, cwd=project, PYTHONPATH="src", FLASK_DEBUG="1")
    assert routes.returncode == 0, row.id + routes.stderr
    served = set(re.findall(r"(?m) (/\S*)\s*$", re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", routes.stdout)))
    section = read("README.md").partition("\n## What answers")[2].partition("\n## ")[0]
    cells = re.findall(r"(?m)^\| (`/.*?) \|", section)
    told = {address for cell in cells for address in re.findall(r"`([^`]+)`", cell)}
    mine = {"/api/v1/primes"}
    assert mine < told
    assert (mine if row == WITHOUT_DATABASE else told - mine) <= served
