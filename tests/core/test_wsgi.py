import subprocess
import sys
from pathlib import Path

WSGI = """
import gc
from {{ cookiecutter.package_name }}.wsgi import app

assert gc.isenabled()
assert not any(one is app for one in gc.get_objects())
"""

# The function and the variables of the script refer to each other.
SCRIPT = """
import gc
import sys

collected = []
gc.callbacks.append(lambda phase, details: collected.append(len(gc.get_objects(generation=0))))

from {{ cookiecutter.package_name }} import create_app

kept = [[] for _ in range(1000)]
assert gc.isenabled()
assert max(collected, default=0) < 10_000, collected
gc.callbacks.clear()
file = open(sys.argv[1], "w")

def write(text):
    file.write(text)

write("saved")
"""


def run_script(script: str, *arguments: str | Path) -> None:
    """Run a script as a process."""
    variables = {"FLASK_DEBUG": "1", "PYTHONPATH": "src", "PATH": ""}
    subprocess.run([sys.executable, "-c", script, *arguments], env=variables, check=True)


def test_garbage_collection_does_not_visit_the_application() -> None:
    run_script(WSGI)


def test_import_collects_nothing_and_scripts_lose_nothing(tmp_path: Path) -> None:
    run_script(SCRIPT, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "saved"
