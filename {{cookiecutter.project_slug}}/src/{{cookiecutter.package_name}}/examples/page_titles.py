"""Title of a web page: a background job that requests a URL from a client."""

from html.parser import HTMLParser
from http import HTTPStatus
from typing import Annotated

# {% if cookiecutter.__celery %}
from celery import shared_task
# {% endif %}
from flask import Blueprint
from msgspec import Meta, Struct
from structlog.contextvars import bound_contextvars

from ..config import get_settings
from ..core import http_client
# {% if cookiecutter.__auth %}
from ..core.access import requires
# {% endif %}
from ..core.api import operation
from ..core.errors import FieldError, UnprocessableContent
from ..core.rate_limiting import rate_limit
from ..core.tasks import (
    JobError,
    JobStatus,
    Reason,
    accepted_response,
    # {% if cookiecutter.task_queue == "rq-redis" %}
    job,
    # {% endif %}
)

blueprint = Blueprint("page_titles", __name__, url_prefix="/api/v1/titles")

MAX_TITLE_LENGTH = 300
# Not every encoding of Python is one of text, and some take very long to decode.
CHARSETS = {
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1252",
    "shift_jis",
    "gb18030",
}


class TitleIn(Struct, forbid_unknown_fields=True):
    """Page whose title a client requests, and the reason for the job's log."""

    url: Annotated[str, Meta(max_length=2000)]
    reason: Reason = ""


class UnreachablePageError(JobError, ConnectionError):
    """Error of the page's server. The job is retried."""


class TitleParser(HTMLParser):
    """Parser that stores the text of the first title."""

    title: str | None = None
    in_title = False

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        """Enter a title."""
        self.in_title = tag == "title" and self.title is None

    def handle_data(self, data: str) -> None:
        """Add to the title."""
        if self.in_title:
            self.title = (self.title or "") + data

    def handle_endtag(self, _tag: str) -> None:
        """Leave a title."""
        self.in_title = False


@blueprint.post("")
# {% if cookiecutter.__auth %}
@requires("titles:write")
# {% endif %}
@rate_limit("RATE_LIMIT_TITLES")
@operation("Titles", {202: JobStatus})
def create_title(json: TitleIn) -> tuple[JobStatus, int, dict[str, str]]:
    """Request a page in the background. The result of the job contains the title."""
    try:
        http_client.Target.parse(json.url, get_settings().HTTP_CLIENT_ALLOWED_PORTS)
    except http_client.BlockedURLError as error:
        raise UnprocessableContent(FieldError("url", str(error))) from None
    with bound_contextvars(reason=json.reason):
        sent = fetch_title.delay(json.url)
    return accepted_response(sent.id)


# {% if cookiecutter.__celery %}
@shared_task(max_retries=2, soft_time_limit=60)
# {% endif %}
# {% if cookiecutter.task_queue == "rq-redis" %}
@job(max_attempts=3, timeout=60)
# {% endif %}
def fetch_title(url: str) -> dict[str, str | int | None]:
    """Request a page and return its title."""
    try:
        response = http_client.fetch(url, headers={"Accept": "text/html"})
    except http_client.BlockedURLError as error:
        raise JobError(f"The page was not requested: {error}.") from error
    except http_client.UnreachableError as error:
        raise UnreachablePageError("The server did not respond.") from error
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnreachablePageError(f"The server responded with {response.status}.")
    charset = (response.headers.get_content_charset() or "").lower()
    title = find_title(response.body, charset)
    return {"url": response.url, "status": response.status, "title": title}


def find_title(page: bytes, charset: str) -> str | None:
    """Return the title of an HTML page, or None."""
    parser = TitleParser()
    try:
        parser.feed(page.decode(charset if charset in CHARSETS else "utf-8", "replace"))
    except AssertionError as error:
        # Python's parser raises it for `<![x>`; the title may come before.
        if parser.title is None:
            raise JobError("The page is not HTML.") from error
    return parser.title and " ".join(parser.title.split())[:MAX_TITLE_LENGTH]
