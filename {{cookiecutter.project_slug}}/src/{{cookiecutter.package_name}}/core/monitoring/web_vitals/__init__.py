"""Real user monitoring: browsers send how fast and stable a page was for its user.

The metrics and their limits are those of https://web.dev/articles/vitals. Neither users nor their
addresses are stored.
"""

from typing import Annotated

import msgspec
from flask import Blueprint, Flask, current_app, request
from msgspec import Meta, Struct
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from ....web import add_body_template
# {% if cookiecutter.__auth %}
from ...access import allow_anonymous
# {% endif %}
from ...rate_limiting import rate_limit
from .. import Histogram

EXTENSION = "web_vitals"
MAX_BYTES = 1000

TIMES = {
    # Time to first byte, first and largest contentful paint, interaction to next paint.
    name: Histogram(
        f"web_vitals_{name}_seconds",
        f"{title} of pages.",
        ["http_route"],
        buckets=buckets,
    )
    for name, title, buckets in [
        ("ttfb", "Time to first byte", (0.1, 0.2, 0.4, 0.8, 1.2, 1.8, 3, 6)),
        ("fcp", "First contentful paint", (0.5, 0.9, 1.3, 1.8, 2.4, 3, 5, 10)),
        ("lcp", "Largest contentful paint", (0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 10)),
        ("inp", "Interaction to next paint", (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)),
    ]
}
SHIFTS = Histogram(
    "web_vitals_cls",
    "Cumulative layout shift of pages, a score without a unit.",
    ["http_route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1),
)

# An hour. A page that is open in the background for longer says nothing about its speed.
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]

blueprint = Blueprint("web_vitals", __name__, template_folder=".")


class WebVitals(Struct, forbid_unknown_fields=True):
    """The report of a browser when its user leaves a page; some metrics may be missing."""

    route: Annotated[str, Meta(max_length=200)]
    ttfb: Milliseconds | None = None
    fcp: Milliseconds | None = None
    lcp: Milliseconds | None = None
    inp: Milliseconds | None = None
    cls: Annotated[float, Meta(ge=0, le=1000)] | None = None


def init_app(app: Flask) -> None:
    """Add the script to all pages."""
    app.register_blueprint(blueprint)
    add_body_template(app, "web_vitals.html")


@blueprint.post("/web-vitals")
# {% if cookiecutter.__auth %}
@allow_anonymous
# {% endif %}
@rate_limit("RATE_LIMIT_WEB_VITALS", replaces_writes=True)
def record() -> tuple[str, int]:
    """Store the metrics of a page. Routes that do not exist share one label."""
    if (request.content_length or 0) > MAX_BYTES:
        raise RequestEntityTooLarge
    try:
        vitals = msgspec.json.decode(request.get_data(), type=WebVitals)
    except msgspec.DecodeError as error:
        raise BadRequest(str(error)) from None
    route = vitals.route if vitals.route in get_routes(current_app) else ""
    for name, histogram in TIMES.items():
        if (milliseconds := getattr(vitals, name)) is not None:
            histogram.labels(route).observe(milliseconds / 1000)
    if vitals.cls is not None:
        SHIFTS.labels(route).observe(vitals.cls)
    return "", 204


def get_routes(app: Flask) -> set[str]:
    """Return the rules of all views, which are complete before the first request."""
    if EXTENSION not in app.extensions:
        app.extensions[EXTENSION] = {rule.rule for rule in app.url_map.iter_rules()}
    routes: set[str] = app.extensions[EXTENSION]
    return routes
