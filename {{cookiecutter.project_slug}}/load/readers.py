"""Clients who only look, one after the other: what every instance has to answer."""

from locust import HttpUser, between, task


class Reader(HttpUser):
    """Reads the documentation; a probe asks meanwhile."""

    weight = 1
    # Seconds that a person takes.
    wait_time = between(0.5, 2)

    @task(4)
    def read_documentation(self) -> None:
        """Open the page, and what it loads."""
        self.client.get("/docs")
        self.client.get("/docs/openapi.json")

    @task
    def probe(self) -> None:
        """Ask as a load balancer does."""
        self.client.get("/health/live")
