"""Redirects to a login and after it: to a page of this site only."""

import re
from typing import Any

from flask import abort, redirect, request, url_for

from ..media_types import prefers_html

# One slash and no backslash at the beginning: browsers read `//host` and `/\host` as other sites.
# They also remove tabs and line breaks. `\Z` is the end of the text.
LOCAL_URL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,1999}\Z")


def local_url(target: str | None, default: str = "") -> str:
    """Return a path of this site, with its query; for everything else the default.

    That is the home page unless it is given.
    """
    if target and LOCAL_URL.match(target):
        return target
    return default or f"{request.script_root}/"


def current_url() -> str:
    """Return the path and the query of the request."""
    query = f"?{request.query_string.decode()}" if request.query_string else ""
    return f"{request.script_root}{request.path}{query}"


def redirect_browser(endpoint: str, **values: Any) -> None:
    """Redirect a browser that requests a page to another one, which gets its path as `next`.

    Other clients, and requests whose path is no page, are not redirected.
    """
    rule = request.url_rule
    is_page = rule is not None and "GET" in (rule.methods or ())
    if is_page and prefers_html():
        abort(redirect(url_for(endpoint, next=current_url(), **values), 303))
