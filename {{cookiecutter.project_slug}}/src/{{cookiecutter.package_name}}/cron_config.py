"""Schedule of `flask scheduler`: `cron.register(function, queue, cron="17 3 * * *")`, in UTC."""

# {% if cookiecutter.__catalog_jobs %}
from rq import cron

# {% endif %}
# {% if cookiecutter.__nosql_jobs %}
from .catalog.import_jobs import delete_old_uploads
# {% endif %}
# {% if cookiecutter.__sql_jobs %}
from .catalog.imports import delete_old_uploads
# {% endif %}
# {% if cookiecutter.__catalog_jobs %}
from .core.tasks import LOW

cron.register(delete_old_uploads, LOW, cron="17 3 * * *")

# {% endif %}
# Of several schedulers only one sends each job. Add your own jobs here.
