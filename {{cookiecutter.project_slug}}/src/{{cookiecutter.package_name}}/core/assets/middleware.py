"""Sending of built files without Flask, in the encoding that the client prefers."""

from collections.abc import Iterable
from mimetypes import guess_type
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper

from flask import Flask
from werkzeug.utils import get_content_type

from ..compression import choose_encoding
from . import manifest

EXTENSIONS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
BLOCK_SIZE = 64 * 1024


def init_app(app: Flask, root: Path, built: manifest.Names) -> None:
    """Send built files; Flask serves all other static files."""
    files = {
        f"/{source.url_path}/{name}": StaticFile(root / source.url_path / name)
        for source in manifest.iter_static_folders(app)
        for name in built.get(source.endpoint, {}).values()
    }
    app.wsgi_app = StaticFilesMiddleware(app.wsgi_app, files)  # type: ignore[method-assign]


class StaticFile:
    """A file and its compressed variants, each with its headers."""

    def __init__(self, path: Path) -> None:
        content_type = get_content_type(
            guess_type(path.name)[0] or "application/octet-stream", "utf-8"
        )
        self.etag = f'"{path.name}"'
        self.headers = [
            ("Content-Type", content_type),
            ("ETag", f"W/{self.etag}"),
            ("Vary", "Accept-Encoding"),
            ("Cache-Control", manifest.IMMUTABLE),
            ("Access-Control-Allow-Origin", "*"),
        ]
        candidates = {name: path.with_name(path.name + end) for name, end in EXTENSIONS.items()}
        existing = {name: path for name, path in candidates.items() if path.exists()}
        sizes = {name: path.stat().st_size for name, path in existing.items()}
        # The smallest comes first.
        self.encodings = tuple(sorted(existing, key=sizes.__getitem__))
        self.variants = {
            name: (path, [*self.headers, ("Content-Encoding", name), content_length(path)])
            for name, path in existing.items()
        }
        self.plain = (path, [*self.headers, content_length(path)])

    def choose(self, accepted: str) -> tuple[Path, list[tuple[str, str]]]:
        """Return the variant for `Accept-Encoding`, and its headers."""
        encoding = choose_encoding(accepted, self.encodings)
        return self.variants[encoding] if encoding else self.plain


def content_length(path: Path) -> tuple[str, str]:
    """Return the header with the size of a file."""
    return "Content-Length", str(path.stat().st_size)


class StaticFilesMiddleware:
    """WSGI middleware: respond to requests for files whose name has a content hash."""

    def __init__(self, wsgi_app: WSGIApplication, files: dict[str, StaticFile]) -> None:
        self.wsgi_app = wsgi_app
        self.files = files

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Send a file. Range requests are left to Flask."""
        file = self.files.get(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"]
        if file is None or method not in {"GET", "HEAD"} or "HTTP_RANGE" in environ:
            return self.wsgi_app(environ, start_response)
        if file.etag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start_response("304 Not Modified", list(file.headers))
            return []
        path, headers = file.choose(environ.get("HTTP_ACCEPT_ENCODING", ""))
        start_response("200 OK", list(headers))
        if method == "HEAD":
            return []
        sent: Iterable[bytes] = environ.get("wsgi.file_wrapper", FileWrapper)(
            path.open("rb"), BLOCK_SIZE
        )
        return sent
