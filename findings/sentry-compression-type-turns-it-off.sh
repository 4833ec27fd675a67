#!/bin/sh
# sentry-sdk 2.75.0, Python 3.11 to 3.14.
# Expected: `_experiments={"transport_compression_algo": CompressionAlgo.GZIP}`, the type that the option is declared with, compresses
#   reports with gzip; without the option they are compressed with gzip, which every service with Sentry's protocol accepts.
# Actual: the member of the declared type sends reports uncompressed, because the transport compares it with the texts "gzip" and "br". Only
#   the text works, which type checkers reject. Without the option, reports change to brotli as soon as the package brotli is
#   installed, for example as a dependency of something else.
# Workaround: `_experiments={"transport_compression_algo": "gzip"}  # type: ignore[typeddict-item]`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sentry-sdk==2.75.0
cat > "$folder/check.py" <<'PYTHON'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import sentry_sdk
from sentry_sdk.consts import CompressionAlgo

encodings = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        encodings.append(self.headers["Content-Encoding"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
options = {"none": {}, "member": {"transport_compression_algo": CompressionAlgo.GZIP}, "text": {"transport_compression_algo": "gzip"}}
sentry_sdk.init(f"http://key@127.0.0.1:{server.server_port}/1", default_integrations=False, _experiments=options[sys.argv[1]])
sentry_sdk.capture_message("hello")
sentry_sdk.flush(5)
print(encodings[0])
PYTHON
check() { "$folder/venv/bin/python" -W ignore "$folder/check.py" "$1"; }
test "$(check none)" = gzip
test "$(check text)" = gzip
test "$(check member)" = None
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check brotli==1.2.1
test "$(check none)" = br
test "$(check text)" = gzip
echo "as described"
