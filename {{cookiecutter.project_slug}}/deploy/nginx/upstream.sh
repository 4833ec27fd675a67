#!/bin/sh
# Send all further requests to the containers with this name; return when requests to the former ones have ended.
#   docker compose exec proxy sh /etc/nginx/upstream.sh web-NAME
set -eu
# The addresses of now, so that the new configuration has some immediately, and those of later, if a container gets another one.
export UPSTREAM="$1:8000 fail_timeout=1d; server $1:8000 resolve"
if grep -qsF "server $UPSTREAM;" /etc/nginx/conf.d/application.conf; then
    exit
fi
former=$(cat /proc/1/task/1/children)
/docker-entrypoint.d/20-envsubst-on-templates.sh >/dev/null
nginx -t -q
kill -HUP 1
# Longer than worker_shutdown_timeout.
for _ in $(seq 45); do
    sleep 1
    running=
    for process in $former; do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != nginx ] || running=yes
    done
    [ -n "$running" ] || exit 0
done
