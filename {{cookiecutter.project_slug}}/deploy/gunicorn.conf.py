"""gunicorn --config deploy/gunicorn.conf.py; the environment has the settings, see .env.example."""

import os
import sys
from importlib import import_module
from pathlib import Path

# Threads suit nearly everything behind a proxy, which waits for slow clients. gevent suits slow
# clients without a proxy, and requests that mostly wait for others. It takes the place of the
# standard library before anything that the application imports has a hold of that.
worker_class = os.environ.get("WEB_WORKER_CLASS") or "{{ cookiecutter.__worker_class }}"
if worker_class == "gevent":
    import_module(f"{worker_class}.monkey").patch_all()

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings  # noqa: E402

try:
    settings = load_settings()
except SettingsError as error:
    sys.exit(f"Error: {error.message}")

wsgi_app = "{{ cookiecutter.package_name }}.wsgi:app"
bind = settings.BIND
workers = settings.WEB_CONCURRENCY
threads = settings.WEB_THREADS

# The application is loaded once and forked, which saves memory. Greenlets cannot be forked.
preload_app = worker_class == "gthread"

# Many more than it has threads: those that a proxy keeps idle count as well, and a worker that has
# as many as it may accepts nobody.
worker_connections = 1000

# Longer than the proxy keeps a connection: who reuses one must not find it closed.
keepalive = 75

# A worker that hangs is replaced after `timeout`; one that stops gets as long for its requests.
timeout = graceful_timeout = settings.WEB_TIMEOUT

# Against leaks. With so many requests the new start costs nothing; a lower number is felt.
max_requests = 100_000
max_requests_jitter = 10_000

limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190

# X-Forwarded-Proto is the application's to believe: TRUSTED_PROXY_HOPS.
forwarded_allow_ips = ""

# Workers show that they live by touching a file, which on a disk may take long.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# It would be a file below the home directory, which may be read-only.
control_socket_disable = True

# No access log: the application logs each request, and so does a proxy.
accesslog = None
