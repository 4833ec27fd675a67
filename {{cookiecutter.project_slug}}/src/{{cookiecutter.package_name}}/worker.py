"""The application for background jobs: `make worker` and `make scheduler` load this module."""

# {% if cookiecutter.__celery %}
import os

# {% endif %}
from flask.cli import load_dotenv

from . import create_app
# {% if cookiecutter.__rq_monitoring %}
from .core import monitoring
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
from .core.tasks.jobs import QUEUES
from .core.tasks.rq import Broker, worker_url
from .core.tasks.rq_worker import Worker

__all__ = ["QUEUES", "REDIS_URL", "Worker"]
# {% endif %}

load_dotenv()
# {% if cookiecutter.__celery %}
# Celery's command copies BROKER_URL to this variable, and would prefer it to the settings.
os.environ.pop("CELERY_BROKER_URL", None)
# With Celery 5.7.0, a worker with gossip does not redeliver the jobs of a killed worker on Redis.
os.environ.setdefault("CELERY_WORKER_WITHOUT_GOSSIP", "1")
os.environ.setdefault("CELERY_WORKER_WITHOUT_MINGLE", "1")
app = create_app().extensions["celery"]
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
app = create_app()
# RQ runs each job in a fork of the worker.
app.app_context().push()
broker: Broker = app.extensions["tasks"]
REDIS_URL = worker_url(broker)
# {% endif %}
# {% if cookiecutter.__rq_monitoring %}
monitoring.serve_process(app, "worker")
# {% endif %}
