"""Celery settings of the project: queues and schedule. `core/tasks` has the others."""

from typing import Any

# {% if cookiecutter.__catalog_jobs %}
from celery.schedules import crontab

# {% endif %}
# Workers serve the queues `high`, `default` and `low` in this order.
task_routes = {
    "celery.*": {"queue": "low"},
    # {% if cookiecutter.__catalog_jobs %}
    "{{ cookiecutter.package_name }}.catalog.import*": {"queue": "low"},
    # {% endif %}
}

beat_schedule: dict[str, dict[str, Any]] = {
    # Celery beat sends these tasks, in UTC. Of several schedulers only one sends each.
    # {% if cookiecutter.__catalog_jobs %}
    "delete-old-uploads": {
        "task": f"{__package__}.catalog.{{ cookiecutter.__imports_module }}.delete_old_uploads",
        "schedule": crontab(hour=3, minute=17),
    },
    # {% endif %}
}
