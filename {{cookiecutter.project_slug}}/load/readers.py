"""Clients who only look, one after the other: what every instance has to answer."""

import locust


class Reader(locust.HttpUser):
    """Reads the documentation; a probe asks meanwhile."""

    weight = 1
    # Seconds that a person takes.
    wait_time = locust.between(0.5, 2)

    @locust.task(4)
    def read_documentation(self) -> None:
        """Open the page, and what it loads."""
        self.client.get("/docs")
        self.client.get("/docs/openapi.json")

    @locust.task
    def probe(self) -> None:
        """Ask as a load balancer does."""
        self.client.get("/health/live")
