from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from flask import Flask
from markupsafe import Markup

from {{ cookiecutter.package_name }}.cache import get_cache

# What a block that calls it stands for.
Cached = Callable[..., Markup]


@pytest.fixture
def cached(make_app: Callable[..., Flask]) -> Iterator[Cached]:
    app = make_app()
    with app.app_context():
        found: Any = app.jinja_env.globals["cached"]
        yield found


def test_a_part_of_a_page_is_made_once(cached: Cached) -> None:
    numbers = count()
    for _ in range(2):
        part = cached("part", caller=lambda: Markup("<b>&amp; {}</b>").format(next(numbers)))
        # What is inside was escaped, and is not escaped again.
        assert part == Markup("<b>&amp; 0</b>")
        assert isinstance(part, Markup)
    assert cached("other part", caller=lambda: Markup("<i>")) == "<i>"


def test_it_is_forgotten_with_its_tag(cached: Cached) -> None:
    numbers = count()
    parts = []
    for _ in range(2):
        parts += [cached("part", "pens", caller=lambda: f"{next(numbers)}") for _ in range(2)]
        get_cache().forget("pens")
    assert parts == ["0", "0", "1", "1"]
