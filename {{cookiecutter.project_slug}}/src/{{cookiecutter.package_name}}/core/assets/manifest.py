"""The folders of static files, and the names of their built files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from flask import Flask

from ...config import SettingsError, invalid

# The built name of each source file, by the endpoint of its folder.
Names = dict[str, dict[str, str]]

MANIFEST = ".manifest.json"
IMMUTABLE = "public, max-age=31536000, immutable"
HASH = re.compile(r"\.[0-9a-f]{12}(\.\w+)?$")


class StaticFolder(NamedTuple):
    """A folder of static files; its URL path has no slash at the start and the end."""

    endpoint: str
    folder: Path
    url_path: str


def iter_static_folders(app: Flask) -> Iterator[StaticFolder]:
    """Yield the static folders of the application and of its blueprints."""
    for rule in app.url_map.iter_rules():
        blueprint, _, name = rule.endpoint.rpartition(".")
        owner = app.blueprints.get(blueprint, app)
        if name == "static" and owner.static_folder and Path(owner.static_folder).is_dir():
            url_path = rule.rule.partition("<")[0].strip("/")
            yield StaticFolder(rule.endpoint, Path(owner.static_folder), url_path)


def has_hash(filename: str) -> bool:
    """Return whether a file name contains a content hash."""
    return bool(HASH.search(filename))


def read(root: Path) -> Names:
    """Return the names that the last build wrote; none if there was no build."""
    try:
        return msgspec.json.decode((root / MANIFEST).read_bytes(), type=Names)
    except FileNotFoundError:
        return {}
    except OSError as error:
        expected = f"a folder that can be read ({error.strerror})"
        raise SettingsError(invalid("STATIC_ROOT", expected, str(root))) from None
