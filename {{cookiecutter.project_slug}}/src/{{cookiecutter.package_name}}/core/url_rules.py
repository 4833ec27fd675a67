"""URL rules that are created quickly: compiling their builders was most of `create_app()`."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from werkzeug.routing import Rule


class LazyRule(Rule):
    """A rule that compiles a builder when `url_for` calls it first.

    Werkzeug compiles two builders when a rule is added, and a process calls few of them.
    """

    # Private: there is no public hook between adding a rule and compiling it.
    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        """Return a function that replaces itself by the compiled builder of Werkzeug."""
        # Private, as above.
        compile_builder = super()._compile_builder
        # Private: the two attributes in which Werkzeug stores the compiled functions.
        attribute = "_build_unknown" if append_unknown else "_build"

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            builder: Callable[..., tuple[str, str]] = compile_builder(append_unknown).__get__(rule)
            setattr(rule, attribute, builder)
            return builder(**values)

        return build


def init_app(app: Flask) -> None:
    """Let the rules that are added from now on compile their builders on first use."""
    app.url_rule_class = LazyRule
