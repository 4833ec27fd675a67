"""Roles and their permissions: views require permissions, users and tokens have roles."""

# A permission is named after what it is for and what it allows.
ROLES: dict[str, frozenset[str]] = {
    # {% if cookiecutter.__catalog %}
    "editor": frozenset({"catalog:write"}),
    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    "importer": frozenset({"catalog:write", "catalog:import"}),
    # {% endif %}
    # {% if cookiecutter.__page_titles %}
    "editor": frozenset({"titles:write"}),
    # {% endif %}
    # Your roles:
}

PERMISSIONS: frozenset[str] = frozenset().union(*ROLES.values())


def permissions_of(roles: list[str]) -> frozenset[str]:
    """Return the permissions of all these roles; an unknown role has none."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
