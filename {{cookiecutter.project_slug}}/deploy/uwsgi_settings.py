"""Prints what of uwsgi.ini depends on the settings."""

import sys

from {{ cookiecutter.package_name }}.config import SettingsError, load_settings

try:
    settings = load_settings()
except SettingsError as error:
    sys.exit(f"Error: {error.message}")

sys.stdout.write(f"""[uwsgi]
{{ cookiecutter.__uwsgi_listens }} = {settings.BIND.removeprefix("unix:")}
chmod-socket = 666
binary-path = {sys.executable}
processes = {settings.WEB_CONCURRENCY}
threads = {settings.WEB_THREADS}
harakiri = {settings.WEB_TIMEOUT}
reload-mercy = {settings.WEB_TIMEOUT}
worker-reload-mercy = {settings.WEB_TIMEOUT}
""")
