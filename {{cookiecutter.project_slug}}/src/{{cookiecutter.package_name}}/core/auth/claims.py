"""Roles in the claims of a token."""

from collections.abc import Mapping
from functools import reduce
from typing import Any


def get_roles(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the roles in a claim; a name such as `realm_access.roles` leads to nested claims."""
    value = claims.get(name)
    if value is None:
        value = reduce(get_member, name.split("."), claims)
    roles = value if isinstance(value, list) else [value]
    return [role for role in roles if isinstance(role, str)]


def get_member(value: Any, name: str) -> Any:
    """Return a member of an object; None if it is no object or lacks it."""
    return value.get(name) if isinstance(value, Mapping) else None
