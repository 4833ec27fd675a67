"""Schedule of `flask scheduler`: `cron.register(function, queue, cron="17 3 * * *")`, in UTC."""

# {% if cookiecutter.__catalog_jobs %}
from rq import cron

from .catalog.{{ cookiecutter.__imports_module }} import delete_old_uploads
from .core.tasks import LOW

cron.register(delete_old_uploads, LOW, cron="17 3 * * *")

# {% endif %}
# Of several schedulers only one sends each job. Add your own jobs here.
