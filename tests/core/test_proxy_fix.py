from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app
from werkzeug.wrappers import Response

from {{ cookiecutter.package_name }}.core.proxy_fix import AmbiguousHeaderFilter


@pytest.mark.parametrize(
    ("hops", "forwarded", "is_kept"),
    [
        (1, "203.0.113.7", True),
        (1, "203.0.113.7, 6.6.6.6", False),
        (1, "6.6.6.6,203.0.113.7", False),
        (2, "203.0.113.7, 198.51.100.9", True),
        (2, "203.0.113.7, 198.51.100.9, 6.6.6.6", False),
    ],
)
def test_ambiguous_client_address_is_dropped(hops: int, forwarded: str, *, is_kept: bool) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return Response(environ.get("HTTP_X_FORWARDED_FOR", ""))(environ, start_response)

    environ = create_environ(headers={"X-Forwarded-For": forwarded})
    body, *_ = run_wsgi_app(AmbiguousHeaderFilter(app, hops), environ)
    assert b"".join(body).decode() == (forwarded if is_kept else "")
