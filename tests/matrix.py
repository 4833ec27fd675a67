"""Options, valid combinations and pairs, read from cookiecutter.json, so that a new value needs no test of its own."""

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
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

ALL_VALUES = {(name, value) for name, values in OPTIONS.items() for value in values}

# Configuration files for `cookiecutter --config-file`, by name.
PRESETS: dict[str, Answers] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["default_context"]
    for path in sorted((TEMPLATE / "presets").glob("*.yaml"))
}

# Values of the free-text questions: names of several lengths and scripts, and characters with a meaning in some file
# format.
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


# Words that only a project with an option value may contain, as regular expressions. `shared` applies to each value of
# the option that is listed; a value that is not listed, such as `none`, has no words of its own.
VOCABULARY: dict[str, dict[str, str]] = json.loads((TEMPLATE / "tests" / "vocabulary.json").read_text(encoding="utf-8"))
# The values of these options name no technology.
WITHOUT_VOCABULARY = ("license", "python_version")


def as_key(value: Value) -> str:
    """Return a value as a JSON key."""
    return value if isinstance(value, str) else str(value).lower()


def vocabulary(option: str, value: Value) -> str:
    """Return the regular expression of the words of an option value; empty if it has none."""
    words = VOCABULARY.get(option, {})
    own = words.get(as_key(value))
    return "" if own is None else "|".join(filter(None, [words.get("shared"), own]))


def verbatim(text: str) -> str:
    """Quote a text as a Jinja expression, since cookiecutter renders answers that a program passes."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


@dataclass(frozen=True)
class Combination:
    """One valid set of answers."""

    id: str
    options: Answers
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> Answers:
        """Return the answers as `extra_context` of cookiecutter."""
        return {**self.options, **{name: verbatim(text) for name, text in self.texts.items()}}

    def free_text(self, name: str) -> str:
        """Return the answer to a free-text question, or its default."""
        return self.texts.get(name, str(MANIFEST[name]))


def is_valid(answers: Answers) -> bool:
    """Return whether the answers, which may be incomplete, contain no conflict."""
    return not any(
        all(name in answers and answers[name] in values for name, values in forbidden.items())
        for forbidden, _ in MANIFEST["_conflicts"]
    )


def answers_with(**chosen: Value) -> Answers:
    """Return the default answers with these; a default that conflicts with them is replaced by the last valid value."""
    answers = dict(chosen)
    for name, values in OPTIONS.items():
        if name not in answers:
            answers[name] = next(
                value for value in (values[0], *reversed(values)) if is_valid({**answers, name: value})
            )
    return {name: answers[name] for name in OPTIONS}


def valid_pairs() -> Iterable[Answers]:
    """Generate every pair of values in valid combinations, without the library that computes the combinations."""
    conflicting = {name for forbidden, _ in MANIFEST["_conflicts"] for name in forbidden}
    for first, second in combinations(OPTIONS, 2):
        for values in product(OPTIONS[first], OPTIONS[second]):
            pair = dict(zip((first, second), values, strict=True))
            remaining = sorted(conflicting - pair.keys())
            completions = (
                dict(zip(remaining, chosen, strict=True)) for chosen in product(*(OPTIONS[name] for name in remaining))
            )
            if any(is_valid(pair | rest) for rest in completions):
                yield pair


def _covering(first: Iterable[Answers]) -> list[Answers]:
    """Return combinations that contain every valid pair of values, starting from the given ones."""
    # covertable treats True and 1, and "3.1" and 3.1, as equal, so it gets and returns positions.
    positions = {name: list(range(len(values))) for name, values in OPTIONS.items()}
    constraints = [
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
        {name: OPTIONS[name][combination[name]] for name in OPTIONS}
        for combination in covertable.make(
            positions,
            strength=2,
            constraints=constraints,
            presets=[{name: OPTIONS[name].index(value) for name, value in answers.items()} for answers in first],
        )
    ]


def _readable(answers: Answers) -> str:
    """Return an ID that lists the values which differ from the defaults."""
    changed = [(name, value) for name, value in answers.items() if value != OPTIONS[name][0]]
    return "-".join(f"{'' if value else 'no_'}{name}" if isinstance(value, bool) else value for name, value in changed)


# The derived variables that are true if an option has a value other than `none`.
SQL = ("postgresql", "mysql", "sqlite")
ANY_VALUE = {"database": "__database", "cache": "__cache", "task_queue": "__tasks"}


def _files_of(name: str, value: Value) -> int:
    """Return how many entries of the table `_files` a value includes."""
    conditions = MANIFEST["_files"].values()
    exact = sum(value in condition[name] for condition in conditions if name in condition)
    any_value = ANY_VALUE.get(name)
    return exact + (value != "none") * sum(any_value in condition for condition in conditions)


def _combinations() -> list[Combination]:
    default = {name: values[0] for name, values in OPTIONS.items()}
    minimal = {
        name: next((value for value in (False, "none", "compose") if value in values), values[-1])
        for name, values in OPTIONS.items()
    }
    full = {name: max(values, key=lambda value: _files_of(name, value)) for name, values in OPTIONS.items()}
    # Other deployments, and databases without SQL, conflict with values that have more files.
    full["deployment"] = default["deployment"]
    full["database"] = max(SQL, key=lambda value: _files_of("database", value))
    selected = {"default": default, "minimal": minimal, "full": full}
    for name, answers in PRESETS.items():
        if default | answers not in selected.values():
            selected[name] = default | answers
    texts = cycle(TEXTS)
    without_texts = ("default", "minimal")
    return [
        *(
            Combination(name, answers, {} if name in without_texts else next(texts))
            for name, answers in selected.items()
        ),
        *(
            Combination(_readable(answers), answers, next(texts))
            for answers in _covering(selected.values())
            if answers not in selected.values()
        ),
    ]


COMBINATIONS = _combinations()
DEFAULT, MINIMAL, FULL = COMBINATIONS[:3]


def covering(
    properties: Callable[[Combination], Iterable[Hashable]],
    rows: Iterable[Combination] = COMBINATIONS,
    first: Iterable[Combination] = (),
) -> list[Combination]:
    """Return few combinations that together have every property that one of `rows` has, beginning with `first`."""
    by_id = {combination.id: combination for combination in rows}
    found = {name: {*properties(combination)} for name, combination in by_id.items()}
    required = [combination.id for combination in first]
    chosen = [*required]
    while missing := set[Hashable]().union(*found.values()).difference(*(found[name] for name in chosen)):
        chosen.append(max(found, key=lambda name: len(missing & found[name])))
    # Later choices may have made earlier ones superfluous.
    for name in chosen[len(required) :]:
        if found[name] <= set().union(*(found[other] for other in chosen if other != name)):
            chosen.remove(name)
    return [by_id[name] for name in chosen]


def values_of(combination: Combination) -> Iterable[Hashable]:
    """Return the answers of a combination, as properties to cover."""
    return combination.options.items()


# Few combinations that together have every value of every option, for tests of one value at a time that take long.
# Tests that depend on how values fit together run with all combinations, which contain every pair.
VALUE_COVER = covering(values_of, first=[DEFAULT, MINIMAL])


def _for_servers(combination: Combination) -> Combination:
    changes: Answers = {}
    if combination.options["auth"] not in ("none", "jwt"):
        changes["auth"] = "jwt"
    if combination.options["database"] in WITHOUT_PACKAGE:
        changes["database"] = "postgresql"
    names = {"auth": "token", "database": "postgresql"}
    name = "-".join([combination.id, *(f"with-{names[option]}" for option in changes)])
    return replace(combination, id=name, options={**combination.options, **changes})


# Debian has no package of these servers. tests/test_mongodb.py runs a fake, tests/test_cassandra.py an old version.
WITHOUT_PACKAGE = ("mongodb", "cassandra")
# Combinations with Prometheus, whose files and containers have tests of their own.
MONITORED = [combination for combination in COMBINATIONS if combination.options["monitoring"] == "prometheus"]
# For tests in production mode that send requests to protected views: a token needs no login and no user. The tests of
# logins are in tests/core/auth.
TOKEN_COMBINATIONS = [_for_servers(combination) for combination in COMBINATIONS]
DEFAULT_WITH_TOKEN = TOKEN_COMBINATIONS[0]


def parametrize_combinations(
    rows: Iterable[Combination] = COMBINATIONS, group: str | None = None
) -> pytest.MarkDecorator:
    """Run a test for each combination.

    The xdist group runs all tests of a combination, or all tests of `group`, in one process. It renders each once.
    """
    parameters = [
        pytest.param(combination, id=combination.id, marks=pytest.mark.xdist_group(group or combination.id))
        for combination in rows
    ]
    return pytest.mark.parametrize("combination", parameters)
