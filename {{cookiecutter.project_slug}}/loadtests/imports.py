"""Load test of the example: imports of files by background jobs."""

# {% if cookiecutter.__auth %}
import os
# {% endif %}
import random
import time

import locust

ROWS = 1000
TIMEOUT = 60  # seconds
# {% if cookiecutter.auth == "oidc" %}
# The session cookie of an editor's browser: `__Host-session=…`. Without it, all clients only read.
HEADERS = {"Cookie": os.environ.get("LOADTEST_COOKIE", "")}
# {% elif cookiecutter.__auth %}
# A token of a user with a role for it. Without it, all clients only read.
TOKEN = os.environ.get("LOADTEST_TOKEN", "")
HEADERS = {"Authorization": f"Bearer {TOKEN}" if TOKEN else ""}
# {% endif %}


class Importer(locust.HttpUser):
    """Imports files. A worker must run, unless jobs run eagerly."""

    weight = 1
    # Seconds between two files.
    wait_time = locust.constant(10)

    # {% if cookiecutter.__auth %}
    abstract = not any(HEADERS.values())

    def on_start(self) -> None:
        """Send the credentials with each request."""
        self.client.headers.update(HEADERS)

    # {% endif %}
    @locust.task
    def import_products(self) -> None:
        """Upload a file, and poll its job until it ends."""
        category = self.client.get("/api/v1/categories").json()[0]["id"]
        name = random.getrandbits(64)
        rows = [f"LOAD-{name:X}-{row},Load test,1250,{category},7" for row in range(ROWS)]
        body = "\n".join(["sku,name,price_cents,category_id,stock", *rows])
        headers = {"Content-Type": "text/csv"}
        accepted = self.client.post("/api/v1/products/imports", data=body, headers=headers)
        if not accepted.ok:
            return
        start = time.perf_counter()
        state = "queued"
        while state not in ("succeeded", "failed") and time.perf_counter() - start < TIMEOUT:
            time.sleep(0.5)
            job = self.client.get(accepted.headers["Location"], name="/api/v1/jobs/ID").json()
            state = job["state"]
        self.environment.events.request.fire(
            request_type="JOB",
            name="import until it ends",
            response_time=(time.perf_counter() - start) * 1000,
            response_length=len(body),
            exception=None if state == "succeeded" else RuntimeError(f"the job is {state}"),
        )
