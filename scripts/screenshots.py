"""Create the images of the documentation: `make screenshots`. Requires Chromium and a package index.

The script records `make new` in a terminal, starts the new project, and takes screenshots with a headless browser.
"""

import html
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent
IMAGES = TEMPLATE / "docs" / "images"
# File name, path of the page, width and height in pixels.
PAGES = [("products", "/products", 1280, 720), ("api", "/docs", 1280, 900)]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Size of a character in pixels, for a font of 14 pixels.
WIDTH, HEIGHT = 8.4, 20
LINES_PER_SECOND = 8
# A preset and a name; the other answers are the defaults.
ANSWERS = ["3", "Blue Shop", *[""] * 20]
COLUMNS = 100


def record(command: list[str], answers: list[str], folder: Path) -> Iterator[str]:
    """Run a program in a terminal, type an answer at each prompt, and yield the output."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm", LINES="50")
        os.execvp(command[0], command)  # noqa: S606
    answers = [*answers]
    printed = ""
    while True:
        ready, _, _ = select.select([terminal], [], [], 1)
        if not ready and answers and ESCAPE.sub("", printed).endswith(": "):
            os.write(terminal, f"{answers.pop(0)}\n".encode())
            continue
        try:
            printed = os.read(terminal, 65536).decode("utf-8", "replace")
        except OSError:
            break
        if not printed:
            break
        yield printed
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")


def draw(lines: list[str]) -> str:
    """Return an animated SVG image that shows the lines of a terminal one by one."""
    texts = "\n".join(
        f'<text x="16" y="{(number + 2) * HEIGHT}" style="animation-delay:{number / LINES_PER_SECOND:.2f}s">'
        f"{html.escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    size = f'width="{COLUMNS * WIDTH + 32:.0f}" height="{(len(lines) + 3) * HEIGHT}"'
    label = 'role="img" aria-label="A project is created in a terminal"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>
<style>
rect {{ fill: #1b1f24; }}
text {{ fill: #e6e6e6; font: 14px ui-monospace, Menlo, Consolas, monospace; white-space: pre; opacity: 0;
  animation: appear 1ms linear forwards; }}
@keyframes appear {{ to {{ opacity: 1; }} }}
@media (prefers-reduced-motion: reduce) {{ text {{ animation-delay: 0s !important; }} }}
</style>
<rect width="100%" height="100%" rx="8"/>
{texts}
</svg>
"""


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """Run a project's development server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(["make", "run", f"PORT={port}"], cwd=project, start_new_session=True) as server:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{url}/health/ready", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield url
        finally:
            os.killpg(server.pid, 15)


def photograph(browser: str, url: str, pages: Iterable[tuple[str, str, int, int]]) -> None:
    """Save screenshots of pages as PNG files."""
    for name, path, width, height in pages:
        target = f"--screenshot={IMAGES / name}.png"
        size = f"--window-size={width},{height}"
        options = ("--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=10000")
        subprocess.run([browser, *options, size, target, url + path], check=True, capture_output=True)


def main() -> None:
    """Create a project with the default answers, and save images of the prompts and the pages."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), "")
    if not browser:
        sys.exit("Chromium is missing: install it")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TEMPLATE / "scripts" / "new_project.py"), "-o", folder]
        printed = "".join(record(command, ANSWERS, TEMPLATE))
        text = ESCAPE.sub("", printed).replace("\r", "").replace(folder, "..")
        (IMAGES / "prompts.svg").write_text(draw(text.strip("\n").split("\n")), encoding="utf-8")
        (project,) = Path(folder).iterdir()
        subprocess.run(["make", "setup", "seed"], cwd=project, check=True)
        with serving(project) as url:
            photograph(browser, url, PAGES)


if __name__ == "__main__":
    main()
