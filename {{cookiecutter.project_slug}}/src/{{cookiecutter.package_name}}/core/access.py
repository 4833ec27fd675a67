"""Access rules: each view has one, `@requires(…)` or `@allow_anonymous`; `auth` checks it."""

from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask

from ..permissions import PERMISSIONS

View = Callable[..., Any]
Permissions = tuple[str, ...]

# Attribute of a view: the permissions that it requires; None if everybody may call it.
RULE = "access_rule"
UNDECIDED: Permissions = ("undecided",)


def requires(*permissions: str) -> Callable[[View], View]:
    """Let only identities with all these permissions call a view: `@requires("notes:write")`.

    Without a permission, every known identity may call it. The rule is checked before all
    decorators of the view, also before its cache.
    """
    if unknown := set(permissions) - PERMISSIONS:
        raise ValueError(f"permissions.py has no role with {', '.join(sorted(unknown))}")
    return lambda view: set_rule(view, permissions)


def allow_anonymous(view: View) -> View:
    """Let everybody call a view."""
    return set_rule(view, None)


def set_rule(view: View, rule: Permissions | None) -> View:
    """Store the access rule of a view. Decorators copy it, so that their order does not matter."""
    if getattr(view, RULE, rule) != rule:
        raise TypeError(f"{view.__qualname__} has two different access rules")
    setattr(view, RULE, rule)
    return view


def get_rule(app: Flask, endpoint: str) -> Permissions | None:
    """Return the permissions that an endpoint requires; `UNDECIDED` if its view has no rule."""
    rule: Permissions | None = getattr(app.view_functions[endpoint], RULE, UNDECIDED)
    if rule is UNDECIDED and (endpoint == "static" or endpoint.endswith(".static")):
        return None
    return rule


def find_undecided(app: Flask) -> Iterator[str]:
    """Return the routes whose views have no access rule, with the place of each view."""
    for rule in app.url_map.iter_rules():
        if get_rule(app, rule.endpoint) is UNDECIDED:
            view = app.view_functions[rule.endpoint]
            yield f"{rule.rule} ({view.__module__}.{view.__qualname__})"


def require_rules(app: Flask) -> None:
    """End the start of a production server if a view has no access rule."""
    if not app.debug and not app.testing and (undecided := sorted(find_undecided(app))):
        lines = "\n  ".join(undecided)
        raise SystemExit(
            f"Error: views without an access rule: add @requires(…) or @allow_anonymous:\n  {lines}"
        )
