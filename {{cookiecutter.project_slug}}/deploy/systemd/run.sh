#!/bin/sh
# Run a command of the release in the working directory: run.sh flask routes. The paths of a process contain the folder of its
# release instead of the link `current`, so that it never imports modules of a later release.
set -eu
cd -P .
release=$(pwd -P)
export PATH="$release/.venv/bin:$PATH" PYTHONPATH="$release/src"
# {% if cookiecutter.monitoring == "prometheus" %}
export APP_VERSION="${APP_VERSION:-${release##*/}}"
# {% endif %}
# {% if cookiecutter.error_tracking == "sentry" %}
export SENTRY_RELEASE="${SENTRY_RELEASE:-${release##*/}}"
# {% endif %}
exec "$@"
