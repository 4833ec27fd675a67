"""Headless Chromium, driven by the Chrome DevTools Protocol through a pipe."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import program

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)
TIMEOUT = 30  # seconds


class Browser:
    """A page of a browser. The protocol's messages are JSON, each with a zero byte at its end."""

    def __init__(self, commands: int, responses: int) -> None:
        """Open a page with the two pipes of the browser."""
        self.commands, self.responses = commands, responses
        self.buffer = b""
        self.count = 0
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self.count += 1
        message: dict[str, object] = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            response = self.read()
            if response.get("id") == self.count:
                assert "error" not in response, response
                result: dict[str, Any] = response["result"]
                return result

    def read(self) -> dict[str, Any]:
        """Return the next message, which may be an event."""
        while b"\0" not in self.buffer:
            data = os.read(self.responses, 65536)
            assert data, "the browser has ended"
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression; None while a page is loading."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        value: object = result["result"].get("value")
        return value

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if self.evaluate(f"document.readyState === 'complete' && ({expression})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"{expression}: {self.text()}")

    def open(self, url: str) -> None:
        """Open a page."""
        self.evaluate("window.left = true")
        self.call("Page.navigate", url=url)
        self.wait_for("!window.left")

    def submit(self, **values: str) -> None:
        """Fill the fields of the first form that has them, click its button, and wait for the next page."""
        self.evaluate("window.left = true")
        fields = " ".join(
            f"form.elements[{json.dumps(name)}].value = {json.dumps(value)};" for name, value in values.items()
        )
        names = json.dumps([*values])
        self.evaluate(
            f"{{ const form = [...document.forms].find(form => {names}.every(name => form.elements[name]));"
            f"{fields} form.querySelector('button').click(); }}"
        )
        self.wait_for("!window.left")

    def click(self, label: str) -> None:
        """Click a button, and wait for the next page."""
        self.evaluate("window.left = true")
        buttons = f"[...document.querySelectorAll('button')].find(button => button.textContent === {json.dumps(label)})"
        self.evaluate(f"{buttons}.click()")
        self.wait_for("!window.left")

    def path(self) -> str:
        """Return the path of the page."""
        return str(self.evaluate("location.pathname"))

    def text(self) -> str:
        """Return the text of the page."""
        return str(self.evaluate("document.body.innerText"))


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser within a `with` block. GitHub's runners have Chrome."""
    name = "google-chrome" if shutil.which("google-chrome") else "chromium"
    their_commands, commands = os.pipe()
    responses, their_responses = os.pipe()
    redirect = f'exec "$@" 3<&{their_commands} 4>&{their_responses}'
    words = ["bash", "-c", redirect, "bash", str(program(name, "chromium")), *OPTIONS, f"--user-data-dir={folder}"]
    process = subprocess.Popen(words, pass_fds=(their_commands, their_responses), stderr=subprocess.DEVNULL)
    os.close(their_commands)
    os.close(their_responses)
    try:
        yield Browser(commands, responses)
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        os.close(commands)
        os.close(responses)
