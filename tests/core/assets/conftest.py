from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.core import assets

RULES = "".join(f".rule-{number}" + " {\n  margin: 0;\n}\n" for number in range(99))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of static files."""
    folder = tmp_path / "source"
    (folder / "fonts").mkdir(parents=True)
    (folder / "fonts" / "plain.woff2").write_bytes(b"a font")
    (folder / "site.css").write_text(RULES)
    return folder


@pytest.fixture
def make_site(source: Path, tmp_path: Path) -> Callable[..., Flask]:
    """Return a factory of applications that serve the folder only."""

    def make(**flags: bool) -> Flask:
        app = Flask("site", static_folder=source, static_url_path="/static")
        app.config.update(flags)
        settings = {"FLASK_DEBUG": "1", "STATIC_ROOT": str(tmp_path / "public")}
        app.extensions["settings"] = load_settings(settings)
        assets.init_app(app)
        return app

    return make


@pytest.fixture
def build(make_site: Callable[..., Flask]) -> Callable[[], Result]:
    """Run `flask assets build` for the folder."""
    return lambda: make_site(DEBUG=True).test_cli_runner().invoke(args=["assets", "build"])
