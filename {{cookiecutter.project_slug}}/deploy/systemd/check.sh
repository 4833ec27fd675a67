#!/bin/sh
# Start the application server of a release with the settings of this server, and stop it when it and the services that it needs are
# available: check.sh COMMAND. It has a port of its own, on the loopback interface, so it receives no requests.
set -eu
BIND=127.0.0.1:$(python -IS -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
export BIND
"$@" &
until python -IS deploy/health_{{ cookiecutter.__upstream_protocol }}.py /health/ready 2> /dev/null; do
    kill -0 "$!" 2> /dev/null || exit 1
    sleep 0.5
done
kill "$!"
wait "$!" || true
