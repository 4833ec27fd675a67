"""The storage of the catalog: the module of the database."""

# {% if cookiecutter.database == "mongodb" %}
from . import mongodb as storage
# {% endif %}

__all__ = ["storage"]
