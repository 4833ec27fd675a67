#!/bin/sh
# Start the application server of a release with the settings of this server, and stop it when it and the services that it needs are
# available: check.sh COMMAND. It has a socket of its own and receives no requests.
set -eu
export BIND=unix:/tmp/check.sock
"$@" &
until python -IS deploy/health_{{ cookiecutter.__upstream_protocol }}.py /health/ready 2> /dev/null; do
    kill -0 "$!" || exit 1
    sleep 0.5
done
kill "$!"
wait "$!" || true
