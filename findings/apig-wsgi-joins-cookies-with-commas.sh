#!/bin/sh
# apig-wsgi 2.20.0, Werkzeug 3.1.8, Python 3.11.
# Expected: a client of HTTP/2 may send each cookie as a header field of its own (RFC 9113, 8.2.3). An event of API Gateway (REST) or of a load
# balancer with `multiValueHeaders` has them as a list, and the application gets all cookies, joined with "; ".
# Actual: the values of every header are joined with ",", also those of `Cookie`. The application gets one cookie, whose value contains the others.
# With `headers` (one value each) or format 2.0 (`cookies`) all cookies arrive.
# Workaround: set `HTTP_COOKIE` from `environ["apig_wsgi.full_event"]["multiValueHeaders"]` in a WSGI middleware.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apig-wsgi==2.20.0 Werkzeug==3.1.8
"$folder/venv/bin/python" - <<'PYTHON'
import json

from apig_wsgi import make_lambda_handler
from werkzeug import Request, Response


@Request.application
def app(request):
    return Response(json.dumps(request.cookies), mimetype="application/json")


def cookies(**headers):
    event = {"version": "1.0", "httpMethod": "GET", "path": "/", "queryStringParameters": None, **headers}
    return json.loads(make_lambda_handler(app)(event, None)["body"])


together = cookies(multiValueHeaders={"Cookie": ["basket=1; language=en"]})
apart = cookies(multiValueHeaders={"Cookie": ["basket=1", "language=en"]})
print("one field:", together, "- two fields:", apart)
assert together == {"basket": "1", "language": "en"}
assert apart == {"basket": "1,language=en"}
PYTHON
