"""Flask and nothing else."""

import os

from flask import Flask

app = Flask(__name__, static_folder=f"{os.environ.get('STATIC_ROOT', '')}/static")


app.add_url_rule("/small", view_func=lambda: {"message": "It runs.", "numbers": [1, 2, 3]})
