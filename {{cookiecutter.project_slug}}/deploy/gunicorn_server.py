"""Start gunicorn with gunicorn.conf.py: `python deploy/gunicorn_server.py`.

gunicorn converts WEB_CONCURRENCY to a number when it is imported, and an invalid value ends in a
traceback. Hide the variable during the import; the configuration validates it later.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

concurrency = os.environ.pop("WEB_CONCURRENCY", "")
gunicorn = import_module("gunicorn.app.wsgiapp")
os.environ["WEB_CONCURRENCY"] = concurrency

sys.argv[1:1] = ["--config", str(Path(__file__).with_name("gunicorn.conf.py"))]
gunicorn.run()
