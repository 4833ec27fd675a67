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

# Those of these processes that are of nginx.
of_nginx() {
    for process in "$@"; do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != nginx ] || echo "$process"
    done
}

# The name server may not have the name yet: then nginx continues with its former configuration.
load() {
    nginx -t -q || return 1
    kill -HUP 1
    sleep 1
    # shellcheck disable=SC2046,SC2086 # numbers
    of_nginx $(cat /proc/1/task/1/children) | grep -qvxF "$(of_nginx $former)"
}

/docker-entrypoint.d/20-envsubst-on-templates.sh >/dev/null
attempts=0
until load; do
    attempts=$((attempts + 1))
    [ "$attempts" -lt 20 ] || exit 1
    sleep 1
done
# Longer than worker_shutdown_timeout.
for _ in $(seq 45); do
    # shellcheck disable=SC2086 # numbers
    [ -n "$(of_nginx $former)" ] || exit 0
    sleep 1
done
exit 1
