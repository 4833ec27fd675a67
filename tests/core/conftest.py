"""Fixtures for tests of `core`."""

import gc
from importlib import import_module

# Garbage collection of the many applications takes a quarter of the time and frees little.
gc.set_threshold(100_000, 1_000_000)

certificate = import_module("core.fixtures.certificate").certificate
# {% if cookiecutter.__cache_server %}
cache_server = import_module("core.fixtures.cache_server").cache_server
# {% endif %}
# {% if cookiecutter.__identity_cache %}
shared_cache = import_module("core.fixtures.shared_cache").shared_cache
# {% endif %}
# {% if cookiecutter.auth == "oidc" %}
oidc_provider = import_module("core.fixtures.oidc_provider").oidc_provider
# {% endif %}
