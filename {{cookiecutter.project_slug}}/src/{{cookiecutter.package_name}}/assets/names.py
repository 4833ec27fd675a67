"""Which folders of static files there are, and what `make build` called the files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from flask import Flask

# By the endpoint of a folder: the names in the source, and the names in the build.
Names = dict[str, dict[str, str]]

MANIFEST = ".manifest.json"
FOR_EVER = "public, max-age=31536000, immutable"
BUILT = re.compile(r"\.[0-9a-f]{12}(\.\w+)?$")


class Source(NamedTuple):
    """A folder of static files."""

    endpoint: str
    folder: Path
    address: str


def find_sources(app: Flask) -> Iterator[Source]:
    """Find the application's folder, and those of its blueprints."""
    for rule in app.url_map.iter_rules():
        blueprint, _, name = rule.endpoint.rpartition(".")
        owner = app.blueprints.get(blueprint, app)
        if name == "static" and owner.static_folder and Path(owner.static_folder).is_dir():
            address = rule.rule.partition("<")[0].strip("/")
            yield Source(rule.endpoint, Path(owner.static_folder), address)


def is_built(filename: str) -> bool:
    """Tell whether a file's name says what is in it."""
    return bool(BUILT.search(filename))


def read(root: Path) -> Names:
    """Read what the last build wrote; nothing, when there was none."""
    try:
        return msgspec.json.decode((root / MANIFEST).read_bytes(), type=Names)
    except FileNotFoundError:
        return {}
