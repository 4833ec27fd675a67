"""A client of the example who imports files, and waits for the jobs that do it."""

import random
import time

import locust

ROWS = 1000
PATIENCE = 60  # seconds


class Importer(locust.HttpUser):
    """Imports a file; a worker has to run, or the server does it at once."""

    weight = 1
    # Seconds between two files.
    wait_time = locust.constant(10)

    @locust.task
    def import_products(self) -> None:
        """Send a file, and ask until its job has ended."""
        category = self.client.get("/api/v1/categories").json()[0]["id"]
        name = random.getrandbits(64)
        rows = [f"LOAD-{name:X}-{row},Made by load,1250,{category},7" for row in range(ROWS)]
        body = "\n".join(["sku,name,price_cents,category_id,stock", *rows])
        kind = {"Content-Type": "text/csv"}
        accepted = self.client.post("/api/v1/products/imports", data=body, headers=kind)
        if not accepted.ok:
            return
        began = time.perf_counter()
        state = "queued"
        while state not in ("succeeded", "failed") and time.perf_counter() - began < PATIENCE:
            time.sleep(0.5)
            job = self.client.get(accepted.headers["Location"], name="/api/v1/jobs/ID").json()
            state = job["state"]
        self.environment.events.request.fire(
            request_type="JOB",
            name="an import, until it is done",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=len(body),
            exception=None if state == "succeeded" else RuntimeError(f"the job is {state}"),
        )
