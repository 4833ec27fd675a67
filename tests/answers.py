"""Options, legal rows and pairs: read from cookiecutter.json, so that a new value needs no test of its own."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations, cycle, product
from pathlib import Path

import covertable
import pytest
import yaml

Value = str | bool
Answers = dict[str, Value]

TEMPLATE = Path(__file__).parent.parent
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
MANIFEST = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))

OPTIONS: dict[str, list[Value]] = {
    name: [question, not question] if isinstance(question, bool) else question
    for name, question in MANIFEST.items()
    if not name.startswith("_") and isinstance(question, bool | list)
}

# What cookiecutter takes with --config-file, by name.
PRESETS: dict[str, Answers] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["default_context"]
    for path in sorted((TEMPLATE / "presets").glob("*.yaml"))
}

# What people type where the text is free: names of all lengths and scripts, and all that could break a file.
TEXTS: list[dict[str, str]] = [
    {"project_name": "Zé", "description": "Says \"hello\", and 'good bye'.", "author_name": 'The "A" Team'},
    {
        "project_name": "Ελληνικό κατάστημα",
        "description": "Ένα κατάστημα: C:\\new\\table\\u00e9, \\",
        "author_name": "Γιώργος Παπαδόπουλος \\",
    },
    {
        "project_name": "商店 Service",
        "description": "买东西 🛒 {{ x }} {% if y %} {# z #}",
        "author_name": "李雷 🐉 {{ cookiecutter.license }}",
    },
    {
        "project_name": "Inventory Administration and Orchestration Service",
        "description": "# {% if true %} ${HOME} $(id) `id` %s %(x)s %% & | < > ; # no comment",
        "author_name": "${USER} %s # {% endif %}",
    },
    {
        "project_name": "O'Brien & Sons (EU), 2.0!",
        "package_name": "obrien",
        "description": "'''triple''' and \"\"\"triple\"\"\", a: b, [c], {d}, - e, *f*, !g, @h",
        "author_name": "Åse Ørsted-O'Brien, Jr. <team>",
        "author_email": "first.last+tag@sub.example.co",
        "domain_name": "shop.sub-domain.example.co",
    },
    {
        "project_name": "Blue Shop",
        "project_slug": "shop1",
        "package_name": "a_package_with_a_very_long_name_of_fifty_letters_x",
        "description": "x" * 200,
        "author_name": "y" * 100,
    },
]


# These name no technology.
UNMENTIONED = ("license", "python_version")


def as_key(value: Value) -> str:
    """The value as a key of JSON."""
    return value if isinstance(value, str) else str(value).lower()


def verbatim(text: str) -> str:
    """Quote a text, since cookiecutter renders the answers that a program gives."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


@dataclass(frozen=True)
class Row:
    """One legal set of answers."""

    id: str
    options: Answers
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> Answers:
        """The answers as cookiecutter takes them from a program."""
        return {**self.options, **{name: verbatim(text) for name, text in self.texts.items()}}

    def asked(self, name: str) -> str:
        """The text of a question, as the person typed it or left it."""
        return self.texts.get(name, str(MANIFEST[name]))


def legal(answers: Answers) -> bool:
    """Tell whether no conflict forbids these answers, which may be a few only."""
    return not any(
        all(name in answers and answers[name] in values for name, values in forbidden.items())
        for forbidden, _ in MANIFEST["_conflicts"]
    )


def legal_pairs() -> Iterable[Answers]:
    """Every two values that some legal row holds; counted without the library that makes the rows."""
    disputed = {name for forbidden, _ in MANIFEST["_conflicts"] for name in forbidden}
    for one, other in combinations(OPTIONS, 2):
        for values in product(OPTIONS[one], OPTIONS[other]):
            pair = dict(zip((one, other), values, strict=True))
            rest = sorted(disputed - pair.keys())
            others = (dict(zip(rest, more, strict=True)) for more in product(*(OPTIONS[name] for name in rest)))
            if any(legal(pair | other_answers) for other_answers in others):
                yield pair


def _covering(first: Iterable[Answers]) -> list[Answers]:
    """Rows that hold every legal pair of values; some of them are given."""
    # covertable calls True and 1, or "3.1" and 3.1, the same: it gets positions, and gives positions.
    positions = {name: list(range(len(values))) for name, values in OPTIONS.items()}
    allowed = [
        {
            "operator": "not",
            "condition": {
                "operator": "and",
                "conditions": [
                    {"operator": "in", "left": name, "values": [OPTIONS[name].index(value) for value in values]}
                    for name, values in forbidden.items()
                ],
            },
        }
        for forbidden, _ in MANIFEST["_conflicts"]
    ]
    return [
        {name: OPTIONS[name][row[name]] for name in OPTIONS}
        for row in covertable.make(
            positions,
            strength=2,
            constraints=allowed,
            presets=[{name: OPTIONS[name].index(value) for name, value in answers.items()} for answers in first],
        )
    ]


def _readable(answers: Answers) -> str:
    """Name a row after what it does not leave as it is."""
    changed = [(name, value) for name, value in answers.items() if value != OPTIONS[name][0]]
    return "-".join(f"{'' if value else 'no_'}{name}" if isinstance(value, bool) else value for name, value in changed)


def _files_of(name: str, value: Value) -> int:
    """Count the lines of the table of files that a value keeps."""
    return sum(value in wanted[name] for wanted in MANIFEST["_files"].values() if name in wanted)


def _rows() -> list[Row]:
    default = {name: values[0] for name, values in OPTIONS.items()}
    minimal = {
        name: next((value for value in (False, "none") if value in values), values[-1])
        for name, values in OPTIONS.items()
    }
    full = {name: max(values, key=lambda value: _files_of(name, value)) for name, values in OPTIONS.items()}
    named = {"default": default, "minimal": minimal, "full": full}
    for name, answers in PRESETS.items():
        if default | answers not in named.values():
            named[name] = default | answers
    texts = cycle(TEXTS)
    plain = ("default", "minimal")
    return [
        *(Row(name, answers, {} if name in plain else next(texts)) for name, answers in named.items()),
        *(
            Row(_readable(answers), answers, next(texts))
            for answers in _covering(named.values())
            if answers not in named.values()
        ),
    ]


ROWS = _rows()
DEFAULT, MINIMAL, FULL = ROWS[:3]


def each(rows: Iterable[Row] = ROWS) -> pytest.MarkDecorator:
    """Run a test for each row; the group keeps all tests of a row in one process, which bakes it once."""
    marked = [pytest.param(row, id=row.id, marks=pytest.mark.xdist_group(row.id)) for row in rows]
    return pytest.mark.parametrize("row", marked)
