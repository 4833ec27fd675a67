"""The handler of a second function of AWS Lambda, which runs commands: `{"command": "…"}`.

No URL leads to it: the scheduler invokes it, and people with the permission to do so.
"""

import os
import shlex
import subprocess
from typing import Any

# Beginnings of the commands that may run. `flask shell` and `flask run` are not among them.
ALLOWED = (
    # {% if cookiecutter.__sql %}
    "alembic current",
    "alembic downgrade -1",
    "alembic upgrade head",
    "flask db",
    # {% endif %}
    # {% if cookiecutter.__auth_table %}
    "flask audit",
    # {% endif %}
    # {% if cookiecutter.__cache %}
    "flask cache",
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    "flask cdn",
    # {% endif %}
    # {% if cookiecutter.__catalog %}
    "flask seed",
    # {% endif %}
    # {% if cookiecutter.__users %}
    "flask users",
    # {% endif %}
    "flask routes",
)
# Seconds; less than the timeout of the function.
TIMEOUT = 870


class CommandError(Exception):
    """A command that is not allowed, or that failed; the invocation fails with its output."""


def handle_command(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Run a command without a shell, and return its output."""
    words = shlex.split(str(event.get("command", "")))
    if not any(words[: len(start)] == start for start in map(str.split, ALLOWED)):
        raise CommandError(f"{event!r}: expected a command that begins with {', '.join(ALLOWED)}")
    # The first words are from the list, and no shell reads the others.
    result = subprocess.run(  # noqa: S603
        words,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    if result.returncode:
        raise CommandError(f"{event['command']} ended with {result.returncode}\n{result.stdout}")
    return {"output": result.stdout}
