"""The storage of the catalog: the module of the database."""

# {% if cookiecutter.database == "cassandra" %}
from . import cassandra as storage
# {% endif %}
# {% if cookiecutter.database == "mongodb" %}
from . import mongodb as storage
# {% endif %}

__all__ = ["storage"]
