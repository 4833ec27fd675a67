import pytest

from {{ cookiecutter.package_name }}.core.auth import (
    identity,
    # {% if cookiecutter.__auth_table %}
    retention,
    # {% endif %}
)

real_provider = identity.get_provider


# {% if cookiecutter.__auth_table %}
@pytest.fixture(autouse=True)
def _no_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request deletes old rows, unless the test is about them."""
    monkeypatch.setattr(retention, "SHARE", 0)


# {% endif %}
@pytest.fixture
def real_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities come from the requests, as in production."""
    monkeypatch.setattr(identity, "get_provider", real_provider)
