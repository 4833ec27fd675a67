"""Load test of the API documentation and the health check."""

import locust


class DocsReader(locust.HttpUser):
    """Reads the API documentation, and calls the health check."""

    weight = 1
    # Seconds between two requests.
    wait_time = locust.between(0.5, 2)

    @locust.task(4)
    def read_documentation(self) -> None:
        """Request the page and its OpenAPI document."""
        self.client.get("/docs")
        self.client.get("/docs/openapi.json")

    @locust.task
    def check_health(self) -> None:
        """Call the health check as a load balancer does."""
        self.client.get("/health/live")
