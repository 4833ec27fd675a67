import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard
from click.testing import Result

from {{ cookiecutter.package_name }}.core.assets import build as building

DECODERS = {".br": brotli.decompress, ".gz": gzip.decompress, ".zst": zstandard.decompress}


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The folder of the built files."""
    return tmp_path / "public" / "static"


def only(folder: Path, pattern: str) -> Path:
    (path,) = (path for path in folder.iterdir() if re.fullmatch(pattern, path.name))
    return path


def test_text_files_have_compressed_variants(build: Callable[[], Result], public: Path) -> None:
    build()
    built = only(public, r"site\.[0-9a-f]{12}\.css")
    for ending, decode in DECODERS.items():
        variant = built.with_name(built.name + ending).read_bytes()
        assert decode(variant) == built.read_bytes()
        assert len(variant) < len(built.read_bytes())
    # A plain name has no variants: a later build could leave them behind.
    assert [path.name for path in public.glob("site.css*")] == ["site.css"]
    assert not any(public.glob("fonts/*.br"))


@pytest.mark.parametrize("size", [2_000, 300_000])
def test_only_large_text_files_have_variants(size: int) -> None:
    assert set(building.compress(".txt", b"a" * size)) == {".br", ".gz", ".zst"}
    assert not building.compress(".png", b"a" * size)
    assert not building.compress(".txt", b"a" * 100)


def test_incompressible_file_has_no_variants() -> None:
    assert not building.compress(".ttf", os.urandom(2000))


def test_style_sheets_and_scripts_are_minified(
    build: Callable[[], Result],
    source: Path,
    public: Path,
) -> None:
    script = "// Greets.\nlet word = `a  // ${1 + 1}`;\n\n\nlet found = /[/]  a/.test(word);\n"
    (source / "hello.js").write_text(script)
    (source / "small.min.js").write_text("let a=1;" * 60)
    build()
    small = (public / "hello.js").read_text()
    assert len(small) < len(script)
    assert "Greets" not in small
    assert "`a  // ${1 + 1}`" in small
    assert "/[/]  a/" in small
    assert (public / "small.min.js").read_text() == "let a=1;" * 60
    assert "\n" not in (public / "site.css").read_text()


def test_references_of_a_style_sheet_are_rewritten(
    build: Callable[[], Result],
    source: Path,
    public: Path,
) -> None:
    (source / "pages").mkdir()
    (source / "pages" / "home.css").write_text(
        """
        /* url(in-a-comment.png) */
        @import "../site.css";
        @font-face { src: url('../fonts/plain.woff2?#iefix') }
        a { fill: url(#shape); background: url(data:image/png;base64,AA==), url(/logo.png) }
        b { background: url("https://example.com/b") }
        """
    )
    build()
    text = (public / "pages" / "home.css").read_text()
    style = only(public, r"site\.[0-9a-f]{12}\.css").name
    font = only(public / "fonts", r"plain\.[0-9a-f]{12}\.woff2").name
    assert f'@import "../{style}"' in text
    assert f"url('../fonts/{font}?#iefix')" in text
    for same in ("#shape", "data:image/png;base64,AA==", "/logo.png", '"https://example.com/b"'):
        assert f"url({same})" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.css": 'a { background: url("b.png") }'}, "a.css refers to b.png, which is missing"),
        ({"a.css": '@import "b.css"', "b.css": '@import "a.css"'}, "a.css imports itself"),
        ({"a.0123456789ab.css": ""}, "has the name of a built file"),
        ({"a.css": "\udcff"}, "utf-8"),
    ],
)
def test_invalid_file_is_reported_in_one_line(
    build: Callable[[], Result],
    source: Path,
    files: dict[str, str],
    message: str,
) -> None:
    for name, text in files.items():
        (source / name).write_text(text, errors="surrogateescape")
    result = build()
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.count("\n") == 1


def test_hidden_files_are_not_built(
    build: Callable[[], Result],
    source: Path,
    public: Path,
) -> None:
    (source / ".secret").write_text("secret")
    build()
    assert not (public / ".secret").exists()


def test_unchanged_file_is_not_built_again(
    build: Callable[[], Result],
    monkeypatch: pytest.MonkeyPatch,
    public: Path,
) -> None:
    build()
    before = only(public, r"site\.[0-9a-f]{12}\.css").stat().st_mtime_ns
    monkeypatch.setattr(building, "compress", None)
    assert build().exit_code == 0
    assert only(public, r"site\.[0-9a-f]{12}\.css").stat().st_mtime_ns == before
