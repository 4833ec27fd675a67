from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from {{ cookiecutter.package_name }} import assets

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
    """Make applications that serve the folder, and nothing else."""

    def make(**settings: object) -> Flask:
        app = Flask("site", static_folder=source, static_url_path="/static")
        app.config.update(STATIC_ROOT=str(tmp_path / "public"), **settings)
        assets.init_app(app)
        return app

    return make


@pytest.fixture
def build(make_site: Callable[..., Flask]) -> Callable[[], Result]:
    """Build the folder, as the command does."""
    return lambda: make_site(DEBUG=True).test_cli_runner().invoke(args=["assets", "build"])
