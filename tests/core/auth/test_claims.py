from typing import Any

import pytest

from {{ cookiecutter.package_name }}.core.auth.claims import get_roles


@pytest.mark.parametrize(
    ("claims", "name", "roles"),
    [
        ({"roles": ["editor", "viewer"]}, "roles", ["editor", "viewer"]),
        ({"roles": "editor"}, "roles", ["editor"]),
        ({"realm_access": {"roles": ["editor"]}}, "realm_access.roles", ["editor"]),
        ({"https://example.com/roles": ["editor"]}, "https://example.com/roles", ["editor"]),
        ({"roles": [1, None, "editor", {}]}, "roles", ["editor"]),
        ({"roles": {"editor": True}}, "roles", []),
        ({"realm_access": "editor"}, "realm_access.roles", []),
        ({}, "roles", []),
    ],
)
def test_roles_come_from_the_claim(claims: dict[str, Any], name: str, roles: list[str]) -> None:
    assert get_roles(claims, name) == roles
