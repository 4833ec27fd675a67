"""Static files under addresses that change with what is in them, and so may be kept for ever."""

from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.security import safe_join

FOR_EVER = "public, max-age=31536000, immutable"


def init_app(app: Flask) -> None:
    """Add a version to what `url_for("static", …)` makes, and let caches keep that version."""
    folder = str(app.static_folder)

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("v", find_version(folder, values["filename"]))

    @app.after_request
    def keep(response: Response) -> Response:
        if request.endpoint == "static" and "v" in request.args:
            filename = (request.view_args or {})["filename"]
            # While a release is rolled out another version may be asked for: nobody keeps that.
            if request.args["v"] == find_version(folder, filename):
                response.headers["Cache-Control"] = FOR_EVER
        return response


def find_version(folder: str, filename: str) -> str | None:
    """Name what is in a file; None when there is no such file."""
    path = safe_join(folder, filename)
    if path is None or not Path(path).is_file():
        return None
    return digest(path, Path(path).stat().st_mtime_ns)


@lru_cache
def digest(path: str, _: int) -> str:
    """Digest a file, once for each time that it was modified."""
    return blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()
