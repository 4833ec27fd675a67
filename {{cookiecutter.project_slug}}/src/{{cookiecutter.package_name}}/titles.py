"""An example of a call to another service: the title of a page that a client names.

It goes with this file, its test, and the lines that name it.
"""

import re
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Annotated

from flask import Blueprint, Flask, current_app
from msgspec import Meta, Struct

from . import outgoing
from .api import operation
from .errors import InvalidInput
from .tasks import JobError, JobStatus, Reason, accept, job

blueprint = Blueprint("titles", __name__, url_prefix="/api/v1/titles")

# How much of a page is searched, and how much of a title is taken.
HEAD = 128 * 1024
LONGEST = 300

META = re.compile(rb"""<meta\s[^>]{0,200}charset\s*=\s*["']?([\w-]{1,20})""", re.IGNORECASE)
# Not all that Python knows: some take very long, and some are not of text.
CHARSETS = re.compile(
    r"utf-?8|utf-16(le|be)?|us-ascii|iso-8859-\d{1,2}|windows-125\d|koi8-[ru]"
    r"|shift_jis|euc-(jp|kr)|gbk|gb2312|gb18030|big5",
    re.IGNORECASE,
)


class TitleInput(Struct, forbid_unknown_fields=True):
    """A page, and why it is asked for."""

    url: Annotated[str, Meta(max_length=2000)]
    reason: Reason = ""


class TitleParser(HTMLParser):
    """Collects the text of the first title."""

    def __init__(self) -> None:
        super().__init__()
        self.is_inside = False
        self.parts: list[str] = []
        self.title: str | None = None

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        """Note where a title begins."""
        self.is_inside = tag == "title"

    def handle_data(self, data: str) -> None:
        """Take the text of a title."""
        if self.is_inside:
            self.parts.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Keep the first title that ends."""
        if tag == "title" and self.title is None:
            self.title = " ".join("".join(self.parts).split())[:LONGEST]


def init_app(app: Flask) -> None:
    """Serve titles."""
    outgoing.init_app(app)
    app.register_blueprint(blueprint)


@blueprint.post("")
@operation("Titles", {202: JobStatus})
def create_title(json: TitleInput) -> tuple[JobStatus, int, dict[str, str]]:
    """Have a page's title fetched; the job's result has it."""
    try:
        outgoing.Target.parse(json.url, current_app.config["OUTGOING_PORTS"])
    except outgoing.RefusedError as error:
        raise InvalidInput([{"field": "url", "problem": str(error)}]) from None
    return accept(fetch_title.enqueue(json.url, reason=json.reason))


@job(attempts=3, time_limit=60)
def fetch_title(url: str) -> dict[str, str | int | None]:
    """Fetch a page, and tell its title: null if it has none."""
    try:
        answer = outgoing.fetch(url, headers={"Accept": "text/html"})
    except outgoing.RefusedError as error:
        raise JobError(f"The page was not fetched: {error}.") from error
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise outgoing.UnreachableError(f"{answer.url} answered {answer.status}")
    declared = answer.headers.get_content_charset() or ""
    return {"url": answer.url, "status": answer.status, "title": find_title(answer.body, declared)}


def find_title(page: bytes, declared: str) -> str | None:
    """Find a page's title; `declared` is the charset of its header, be it wrong or missing."""
    found = META.search(page[:1024])
    named = declared or (found[1].decode() if found else "")
    charset = named if CHARSETS.fullmatch(named) else "utf-8"
    parser = TitleParser()
    parser.feed(page[:HEAD].decode(charset, "replace"))
    return parser.title
