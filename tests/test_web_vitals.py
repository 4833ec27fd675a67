"""Real user monitoring in a real browser, under the project's Content-Security-Policy."""

import re
import time
from pathlib import Path

from tests.browser import open_browser
from tests.conftest import Run, link_venv
from tests.matrix import DEFAULT, parametrize_combinations
from tests.services import fetch, free_port, serving, wait_until


@parametrize_combinations([DEFAULT])
def test_browser_reports_a_page_when_its_user_leaves_it(
    workspace: Path, venv_bin: Path, run: Run, clean_env: dict[str, str], tmp_path: Path
) -> None:
    """All five metrics of a page arrive once, as of the route of the page."""
    port = free_port()
    url = f"http://localhost:{port}"
    variables = {
        **clean_env,
        **link_venv(workspace, venv_bin),
        "FLASK_DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'test.sqlite3'}",
    }
    result = run(venv_bin / "alembic", "upgrade", "head", cwd=workspace, **variables)
    assert result.returncode == 0, result.stderr
    (package,) = (workspace / "src").iterdir()
    command: list[str | Path] = [venv_bin / "flask", "--app", f"{package.name}.wsgi", "run", f"--port={port}"]

    def counts() -> dict[str, int]:
        pattern = r'(?m)^web_vitals_(\w+?)(?:_seconds)?_count\{http_route="/products"\} (\S+)$'
        return {name: int(float(count)) for name, count in re.findall(pattern, fetch(f"{url}/metrics").text)}

    with (
        serving(command, workspace, variables, f"{url}/health/ready", tmp_path / "log"),
        open_browser(tmp_path / "profile") as browser,
    ):
        browser.open(f"{url}/products")
        # Input ends the search for the largest contentful paint.
        browser.evaluate(
            "new PerformanceObserver(() => { window.painted = true; })"
            ".observe({type: 'largest-contentful-paint', buffered: true})"
        )
        browser.wait_for("window.painted")
        # A trusted click, which blocks the page for more than the threshold of 40 ms.
        browser.evaluate(
            "document.querySelector('h1').addEventListener('click', () => {"
            "const end = performance.now() + 120; while (performance.now() < end); })"
        )
        box = browser.evaluate(
            "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
            "(document.querySelector('h1').getBoundingClientRect())"
        )
        assert isinstance(box, list)
        for kind in ("mousePressed", "mouseReleased"):
            browser.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        time.sleep(0.5)
        assert counts() == {}
        browser.open(f"{url}/")
        wait_until(lambda: bool(counts()))
        assert counts() == {"ttfb": 1, "fcp": 1, "lcp": 1, "inp": 1, "cls": 1}
    assert '"status":403' not in (tmp_path / "log").read_text(encoding="utf-8")
