import subprocess
import sys


def test_garbage_collection_does_not_visit_the_application() -> None:
    code = (
        "import gc\nfrom {{ cookiecutter.package_name }}.wsgi import app\n"
        "assert not any(one is app for one in gc.get_objects())"
    )
    variables = {"FLASK_DEBUG": "1", "PYTHONPATH": "src", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)
