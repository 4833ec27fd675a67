"""Print the part of uwsgi.ini that depends on the settings."""

import os
import sys
from contextlib import redirect_stdout

from {{ cookiecutter.package_name }} import create_app
from {{ cookiecutter.package_name }}.config import SettingsError, load_settings
from {{ cookiecutter.package_name }}.core.security import log_open_operations
from {{ cookiecutter.package_name }}.core.worker_threads import count_threads

try:
    settings = load_settings()
    app = create_app(settings)
    # uWSGI parses the standard output; messages go to its log.
    with redirect_stdout(sys.stderr):
        log_open_operations(app)
except SettingsError:
    # Without output uWSGI would start anyway.
    sys.stdout.write("[uwsgi]\nexit = 1\n")
    raise

address = settings.BIND.removeprefix("unix:")
# {% if cookiecutter.__uwsgi_router_socket %}
if "LISTEN_PID" in os.environ:
    # The socket of systemd is for the HTTP router. Without the variable, workers accept no
    # connections from it.
    address = "fd://3\nunenv = LISTEN_PID"
# {% endif %}
# uWSGI resolves the addresses of its sockets before it imports the application, which sets
# RES_OPTIONS. The C library reads it once.
sys.stdout.write(f"""[uwsgi]
{{ cookiecutter.__uwsgi_listens }} = {address}
chmod-socket = 666
binary-path = {sys.executable}
env = RES_OPTIONS={os.environ["RES_OPTIONS"]}
processes = {settings.WEB_CONCURRENCY}
threads = {count_threads(settings)}
reload-mercy = {settings.WEB_TIMEOUT}
worker-reload-mercy = {settings.WEB_TIMEOUT}
""")
# {% if cookiecutter.__uwsgi_metrics %}
# Prometheus does not speak the uwsgi protocol. This socket serves no other path.
sys.stdout.write(f"http-socket = {settings.METRICS_BIND}\n")
_, _, port = settings.METRICS_BIND.rpartition(":")
sys.stdout.write("route-if-not = equal:${SERVER_PORT};" + port + " goto:application\n")
sys.stdout.write("""
route-if = equal:${PATH_INFO};/metrics goto:application
route-run = break:404 Not Found
route-label = application
""")
# {% endif %}
