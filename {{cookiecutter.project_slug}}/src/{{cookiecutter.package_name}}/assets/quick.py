"""What was built, sent straight from disk in the best encoding: such requests never reach Flask."""

from collections.abc import Iterable
from mimetypes import guess_type
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper

from flask import Flask
from werkzeug.utils import get_content_type

from ..proxies.compression import choose
from . import names

ENDINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
CHUNK = 64 * 1024


def init_app(app: Flask, root: Path, built: names.Names) -> None:
    """Take over what was built; the rest stays with Flask."""
    files = {
        f"/{source.address}/{name}": File(root / source.address / name)
        for source in names.find_sources(app)
        for name in built.get(source.endpoint, {}).values()
    }
    app.wsgi_app = QuickFiles(app.wsgi_app, files)  # type: ignore[method-assign]


class File:
    """A file, with its variants and all that is said of each, the smallest first."""

    def __init__(self, path: Path) -> None:
        kind = get_content_type(guess_type(path.name)[0] or "application/octet-stream", "utf-8")
        self.etag = f'"{path.name}"'
        self.headers = [
            ("Content-Type", kind),
            ("ETag", f"W/{self.etag}"),
            ("Vary", "Accept-Encoding"),
            ("Cache-Control", names.FOR_EVER),
            ("Access-Control-Allow-Origin", "*"),
        ]
        paths = {name: path.with_name(path.name + ending) for name, ending in ENDINGS.items()}
        made = {name: path for name, path in paths.items() if path.exists()}
        sizes = {name: path.stat().st_size for name, path in made.items()}
        self.encodings = tuple(sorted(made, key=sizes.__getitem__))
        self.variants = {
            name: (path, [*self.headers, ("Content-Encoding", name), length(path)])
            for name, path in made.items()
        }
        self.plain = (path, [*self.headers, length(path)])

    def find(self, accepted: str) -> tuple[Path, list[tuple[str, str]]]:
        """Find the variant that a client likes best, and its headers."""
        encoding = choose(accepted, self.encodings)
        return self.variants[encoding] if encoding else self.plain


def length(path: Path) -> tuple[str, str]:
    """Tell a file's length."""
    return "Content-Length", str(path.stat().st_size)


class QuickFiles:
    """WSGI middleware: answers for files whose names say what is in them; it knows all of them."""

    def __init__(self, wsgi_app: WSGIApplication, files: dict[str, File]) -> None:
        self.wsgi_app = wsgi_app
        self.files = files

    def __call__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Send a file; parts of files are left to Flask."""
        file = self.files.get(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"]
        if file is None or method not in {"GET", "HEAD"} or "HTTP_RANGE" in environ:
            return self.wsgi_app(environ, start_response)
        if file.etag in environ.get("HTTP_IF_NONE_MATCH", ""):
            start_response("304 Not Modified", list(file.headers))
            return []
        path, headers = file.find(environ.get("HTTP_ACCEPT_ENCODING", ""))
        start_response("200 OK", list(headers))
        if method == "HEAD":
            return []
        sent: Iterable[bytes] = environ.get("wsgi.file_wrapper", FileWrapper)(
            path.open("rb"), CHUNK
        )
        return sent
