import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from {{ cookiecutter.package_name }}.cdn import Cdn
from {{ cookiecutter.package_name }}.cdn.addresses import find

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
def renew(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Result]:
    """Run `flask cdn addresses` on a list that the CDN has published."""
    shipped = Cdn.addresses.read_text()
    (tmp_path / Cdn.addresses.parent).mkdir(parents=True)
    (tmp_path / Cdn.addresses).write_text(shipped)
    runner = make_app().test_cli_runner()
    monkeypatch.chdir(tmp_path)
    return lambda text: runner.invoke(args=["cdn", "addresses", "-"], input=text)


def test_the_list_is_renewed(renew: Callable[[str], Result], tmp_path: Path) -> None:
    before = (tmp_path / Cdn.addresses).read_text().splitlines()
    result = renew(LISTS["json"])
    assert result.exit_code == 0, result.output
    assert "2 networks" in result.output
    after = (tmp_path / Cdn.addresses).read_text().splitlines()
    comment = [line for line in before if line.startswith("#")]
    wanted = [Cdn.form.format(network) for network in ("192.0.2.0/24", "2001:db8::/32")]
    assert after == [*comment, *wanted]
    # What was written is a list as well.
    assert [str(network) for network in find("\n".join(after))] == LISTS["text"].split()


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_each_form_of_a_list_is_read(text: str) -> None:
    assert [str(network) for network in find(text)] == ["192.0.2.0/24", "2001:db8::/32"]


def test_only_what_is_selected_counts() -> None:
    text = '[{"net": "192.0.2.0/24", "for": "A"}, {"net": "198.51.100.0/24", "for": "B"}]'
    assert [str(network) for network in find(text, '"B"')] == ["198.51.100.0/24"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no network"),
        ("<html>Not found</html>", "no network"),
        ("192.0.2.1/24", "host bits"),
        ("0.0.0.0/0", "too wide"),
        ("::/0", "too wide"),
    ],
)
def test_a_wrong_list_changes_nothing(
    renew: Callable[[str], Result],
    tmp_path: Path,
    text: str,
    problem: str,
) -> None:
    before = (tmp_path / Cdn.addresses).read_text()
    result = renew(json.dumps({"ip_prefix": text, "service": WORD}))
    assert result.exit_code == 1
    assert problem in result.output
    assert result.output.count("\n") == 1
    assert (tmp_path / Cdn.addresses).read_text() == before
