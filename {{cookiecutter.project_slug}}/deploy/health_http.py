"""Health check: exit with 0 if the application server responds, by default to /health/live."""

import os
import socket
import sys

path = sys.argv[1] if len(sys.argv) > 1 else "/health/live"
host, _, rest = (os.environ.get("BIND") or "127.0.0.1:8000").rpartition(":")
if host == "unix":
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(4)
    connection.connect(rest)
else:
    connection = socket.create_connection((host.strip("[]"), int(rest)), 4)
with connection, connection.makefile("rb") as response:
    connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    sys.exit(b" 200 " not in response.readline())
