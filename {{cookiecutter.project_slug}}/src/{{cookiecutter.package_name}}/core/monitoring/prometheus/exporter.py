"""The metrics of a worker or a scheduler: an HTTP server in a thread of its main process."""

import os
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

import structlog


class Server(ThreadingMixIn, WSGIServer):
    """Server whose requests do not wait for each other."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind the socket. The base class looks up a host name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class Handler(WSGIRequestHandler):
    """Handler of a request."""

    # Seconds that a client may take to send its request.
    timeout = 5

    def log_message(self, *_: object) -> None:
        """Write no log."""


def serve(bind: str, wsgi_app: WSGIApplication) -> None:
    """Serve an application at `host:port`; if that is impossible, log it: jobs matter more."""
    host, _, port = bind.rpartition(":")
    try:
        server = Server((host, int(port)), Handler)
    except OSError as error:
        log = structlog.get_logger()
        log.warning("metrics not served: set METRICS_BIND", bind=bind, error=str(error))
        return
    server.set_app(wsgi_app)
    # A job that outlives the main process must not keep the port.
    os.register_at_fork(after_in_child=server.socket.close)
    Thread(target=server.serve_forever, daemon=True).start()
