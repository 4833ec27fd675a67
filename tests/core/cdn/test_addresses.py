import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from {{ cookiecutter.package_name }}.core.cdn import Cdn
from {{ cookiecutter.package_name }}.core.cdn.addresses import parse_networks

WORD = Cdn.selector.strip('"') or "any"
LISTS = {
    "text": "192.0.2.0/24\n2001:db8::/32\n",
    "json": json.dumps(
        {
            "prefixes": [
                {"ip_prefix": "192.0.2.0/24", "service": WORD},
                {"ip_prefix": "2001:db8::/32", "service": WORD},
            ]
        }
    ),
}


@pytest.fixture
def update(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Result]:
    """Run `flask cdn addresses` on a published list."""
    shipped = Cdn.networks_file.read_text()
    (tmp_path / Cdn.networks_file.parent).mkdir(parents=True)
    (tmp_path / Cdn.networks_file).write_text(shipped)
    runner = make_app().test_cli_runner()
    monkeypatch.chdir(tmp_path)
    return lambda text: runner.invoke(args=["cdn", "addresses", "-"], input=text)


def test_list_is_updated(update: Callable[[str], Result], tmp_path: Path) -> None:
    before = (tmp_path / Cdn.networks_file).read_text().splitlines()
    result = update(LISTS["json"])
    assert result.exit_code == 0, result.output
    assert "2 networks" in result.output
    after = (tmp_path / Cdn.networks_file).read_text().splitlines()
    comment = [line for line in before if line.startswith("#")]
    expected = [Cdn.line_format.format(network) for network in ("192.0.2.0/24", "2001:db8::/32")]
    assert after == [*comment, *expected]
    # The written file can be parsed as well.
    assert [str(network) for network in parse_networks("\n".join(after))] == LISTS["text"].split()


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_list_formats_are_parsed(text: str) -> None:
    assert [str(network) for network in parse_networks(text)] == ["192.0.2.0/24", "2001:db8::/32"]


def test_only_selected_networks_count() -> None:
    text = '[{"net": "192.0.2.0/24", "for": "A"}, {"net": "198.51.100.0/24", "for": "B"}]'
    assert [str(network) for network in parse_networks(text, '"B"')] == ["198.51.100.0/24"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no network"),
        ("<html>Not found</html>", "no network"),
        ("192.0.2.1/24", "host bits"),
        ("0.0.0.0/0", "too large"),
        ("::/0", "too large"),
    ],
)
def test_invalid_list_changes_nothing(
    update: Callable[[str], Result],
    tmp_path: Path,
    text: str,
    problem: str,
) -> None:
    before = (tmp_path / Cdn.networks_file).read_text()
    result = update(json.dumps({"ip_prefix": text, "service": WORD}))
    assert result.exit_code == 1
    assert problem in result.output
    assert result.output.count("\n") == 1
    assert (tmp_path / Cdn.networks_file).read_text() == before
