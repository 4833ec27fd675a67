from collections.abc import Callable, Iterator
from itertools import count

import pytest
from flask import Flask, render_template_string

from {{ cookiecutter.package_name }}.core.cache import cache

FRAGMENT = "{{ '{%' }} cache name, 'pens' {{ '%}' }}<b>{{ '{{' }} next(numbers) {{ '}}' }} {{ '{{' }} text {{ '}}' }}</b>{{ '{%' }} endcache {{ '%}' }}"


@pytest.fixture
def render(make_app: Callable[..., Flask]) -> Iterator[Callable[[str], str]]:
    numbers = count()

    def render(name: str) -> str:
        return render_template_string(FRAGMENT, name=name, next=next, numbers=numbers, text="<&>")

    with make_app().app_context():
        yield render


def test_fragment_is_rendered_once(render: Callable[[str], str]) -> None:
    assert [render("a") for _ in range(2)] == ["<b>0 &lt;&amp;&gt;</b>"] * 2
    assert render("b").startswith("<b>1 ")


def test_fragment_is_invalidated_by_its_tag(render: Callable[[str], str]) -> None:
    render("a")
    cache.invalidate("pens")
    assert [render("a")[:5] for _ in range(2)] == ["<b>1 "] * 2
