import subprocess
import sys

CODE = """
import gc
from {{ cookiecutter.package_name }}.wsgi import app

assert gc.isenabled()
assert not any(one is app for one in gc.get_objects())
"""


def test_garbage_collection_does_not_visit_the_application() -> None:
    variables = {"FLASK_DEBUG": "1", "PYTHONPATH": "src", "PATH": ""}
    subprocess.run([sys.executable, "-c", CODE], env=variables, check=True)
