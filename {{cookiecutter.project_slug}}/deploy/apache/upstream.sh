#!/bin/sh
# Send all further requests to the containers with this name; return when requests to the former ones have ended.
#   docker compose exec proxy sh /usr/local/apache2/conf/upstream.sh web-NAME
set -eu
line="Define UPSTREAM http://$1:8000"
if grep -qsxF "$line" "$RUN_ROOT/upstream.conf"; then
    exit
fi
former=$(cat /proc/1/task/1/children)
echo "$line" >"$RUN_ROOT/upstream.conf"
httpd -t
kill -USR1 1
# Longer than GracefulShutdownTimeout.
for _ in $(seq 45); do
    sleep 1
    running=
    for process in $former; do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != "$(cat /proc/1/comm)" ] || running=yes
    done
    [ -n "$running" ] || exit 0
done
