"""Flask with a key, so that it opens a session for each request."""

import os

from flask import Flask

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]


app.add_url_rule("/small", view_func=lambda: {"message": "It runs.", "numbers": [1, 2, 3]})
