#!/bin/sh
# gixy-ng 0.2.59 treats a server as a TLS server if its port number contains "443", such as 14430.
#
# gixy reports no issue for a server without TLS on port 8080. For the same server on port 14430 it reports a missing HSTS
# header and exits with 1, although browsers ignore that header without TLS (RFC 6797, 7.2). Expected: no issue for both.
# Actual output: "[hsts_header] Missing HSTS header", exit 1, for port 14430 only.
set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gixy-ng==0.2.59

check() {
    printf 'events {}\nhttp {\n    server_tokens off;\n    server {\n        listen 127.0.0.1:%s;\n        server_name example.com;\n        return 204;\n    }\n}\n' "$1" >"$folder/nginx.conf"
    "$folder/venv/bin/gixy" "$folder/nginx.conf" >"$folder/output" 2>&1 && code=0 || code=$?
    echo "port $1: exit $code, $(grep -c 'Missing HSTS header' "$folder/output" || true) line(s) about HSTS"
}

check 8080
! grep -q hsts_header "$folder/output"
check 14430
grep -q 'Missing HSTS header' "$folder/output"
echo "as described"
