"""Health check of the container: exit with 0 if the application server responds.

The argument is the path to request, by default `/health/live`.
"""

import os
import socket
import struct
import sys

PATH = (sys.argv[1] if sys.argv[1:] else "/health/live").encode()
VARIABLES = {
    b"REQUEST_METHOD": b"GET",
    b"REQUEST_URI": PATH,
    b"PATH_INFO": PATH,
    b"QUERY_STRING": b"",
    b"SERVER_PROTOCOL": b"HTTP/1.0",
    b"SERVER_NAME": b"localhost",
    b"SERVER_PORT": b"8000",
    b"HTTP_HOST": b"localhost",
}

host, _, rest = (os.environ.get("BIND") or "127.0.0.1:8000").rpartition(":")
if host == "unix":
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(4)
    connection.connect(rest)
else:
    connection = socket.create_connection((host.strip("[]"), int(rest)), 4)
with connection, connection.makefile("rb") as response:
    texts = [text for pair in VARIABLES.items() for text in pair]
    table = b"".join(struct.pack("<H", len(text)) + text for text in texts)
    connection.sendall(struct.pack("<BHB", 0, len(table), 0) + table)
    sys.exit(b" 200 " not in response.readline())
