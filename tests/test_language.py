"""Tests of the wording: documents, comments, docstrings, messages and test names use standard terms."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix import PROJECT, TEMPLATE
from tests.test_source import files_in, relative_name

# Patterns of former wording, with the terms to use instead.
FORMER = {
    r"\b(is|are|was|were|be|been) (told|forgotten|mended|refused)\b": "logged, invalidated, fixed, rejected",
    r"\b(is|are|was|were|be|been) kept\b": "cached, stored",
    r"\b(tells|tell) (the|a|an|it|them|whether|what|how|that)\b": "log, report, return",
    # A string that begins with "nobody" names the system user.
    r"\b(nobody|whoever|somebody)\b(?<!^\"nobody)": "name the actor",
    r"\bwho(m)? (ask|asks|is in front|are in front)\b": "client, reverse proxy, load balancer",
    r"\bforget(s|ting)?\b": "invalidate, delete",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bprove(s|d|n)?\b": "test",
    r"\bplanted mistakes?\b": "mutation",
    r"\bstand-ins?\b": "fake",
    r"\blifetimes?\b": "TTL",
    # Roles of Kubernetes have a key with this name.
    r"\bverbs?\b(?!, object|: \[)": "target, command",
    r"\bat once\b": "immediately, or concurrently",
    r"\bknows? (of|no|nothing|that|which|when|what)\b": "store, read, contain",
    r"\brefus(al|als|es|e)\b": "rejection, reject",
    r"\bfor want of\b": "without",
    r"\bbreaks? off\b": "end early",
    r"\bpatience\b": "timeout",
    r"\bas long as the block\b": "within a `with` block",
    r"\bmachine that has time\b": "without other load",
    r"^test (its?|that|they|what|who) ": "name the subject of the test",
}
# Python 3.12 and later have a token for the text of an f-string.
TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
TEXTS = {".md", ".yaml", ".yml", ".toml", ".conf", ".env", ".ini", ".sh", ".txt", ".template", ".vcl", ".tf", ".html"}
# Licenses, documents with former names, and this list.
EXEMPT = ("LICENSE", "CHANGELOG.md", "test_language.py", "upgrading.md")
# A docstring whose first sentence starts with one of these words has no subject, or a subject that it does not name.
UNCLEAR_START = re.compile(r"(It|Its|They|Their|What|Who|Whoever|So|Else|That|Nobody|Somebody|All that)\b")


def files() -> list[Path]:
    """Return the files of the product, and the documents, benchmarks and tests of the template."""
    names = ("templates", "hooks", "presets", "docs", "scripts", "benchmarks", "findings", "tests")
    folders = [PROJECT, *(TEMPLATE / name for name in names)]
    texts = [path for folder in folders for path in files_in(folder)]
    texts += [*TEMPLATE.glob("*.md"), TEMPLATE / "Makefile", TEMPLATE / "cookiecutter.json"]
    return [path for path in texts if path.name not in EXEMPT and "license" not in path.parts]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines: all of a document; comments, strings and names of functions of a module."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".py":
        keyword = ""
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in TEXT_TOKENS:
                yield token.start[0], token.string
            elif keyword == "def":
                yield token.start[0], token.string.replace("_", " ")
            keyword = token.string
    elif path.suffix in TEXTS or path.name in ("Makefile", "Dockerfile", "cookiecutter.json", ".env.example"):
        yield from enumerate(text.splitlines(), 1)


@pytest.mark.parametrize("path", files(), ids=relative_name)
def test_wording_is_standard(path: Path) -> None:
    """No text uses former wording instead of a standard term."""
    found = [
        f"{relative_name(path)}:{number}: {match[0]!r}: {instead}"
        for number, line in prose(path)
        for pattern, instead in FORMER.items()
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text", ["Nobody is told.", "It is kept for an hour.", "Jobs are not forgotten at once.", "lifetime"]
)
def test_former_wording_is_found(text: str) -> None:
    """The patterns find former wording."""
    assert any(re.search(pattern, text, re.IGNORECASE) for pattern in FORMER)


def find_unclear_tests(source: str) -> Iterator[str]:
    """Yield the tests of a module whose name or docstring has no clear subject."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            words = node.name.removeprefix("test_").replace("_", " ")
            if UNCLEAR_START.match(words.capitalize()):
                yield node.name
            if UNCLEAR_START.match(ast.get_docstring(node) or ""):
                yield f"{node.name}: {ast.get_docstring(node)}"


@pytest.mark.parametrize("path", sorted((TEMPLATE / "tests").glob("test_*.py")), ids=relative_name)
def test_test_names_and_docstrings_are_clear(path: Path) -> None:
    """Names of tests, and the first sentences of their docstrings, have a clear subject."""
    assert [*find_unclear_tests(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "def test_it_is_a_row():\n    ...",
        "def test_what_is_stored():\n    ...",
        'def test_replay():\n    """What is proved of rows."""',
    ],
)
def test_unclear_test_is_found(source: str) -> None:
    """The search finds names and docstrings without a clear subject."""
    assert [*find_unclear_tests(source)]
