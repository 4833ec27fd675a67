"""URLs of servers, validated more strictly than their clients do."""

# {% if cookiecutter.__redis %}
import ssl
from urllib import parse


# {% else %}
from urllib import parse


# {% endif %}
# {% if cookiecutter.__redis %}
def normalize_redis_url(url: str, ca_file: str) -> str:
    """Return a Redis URL in a form that all clients read in the same way.

    Its path is the number of the logical keyspace. A `rediss://` URL verifies the certificate and
    the host name, unless its `ssl_cert_reqs` and `ssl_check_hostname` disable that; `ca_file` is a
    further certificate authority. Raise `ValueError` for a URL that no client can use, and
    `OSError` for a file that cannot be read.
    """
    parts = split_server_url(url)
    query = dict(parse.parse_qsl(parts.query, keep_blank_values=True))
    number = query.pop("db", "") or parts.path.strip("/") or "0"
    if not number.isdecimal():
        raise ValueError(url)
    if parts.scheme == "rediss":
        # Some clients write CERT_REQUIRED; redis-py writes `required`.
        required = query.get("ssl_cert_reqs", "required")
        query["ssl_cert_reqs"] = required.removeprefix("CERT_").lower()
        query |= {"ssl_ca_certs": ca_file} if ca_file else {}
        ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
    elif ca_file:
        raise ValueError("a CA file without TLS")
    return parts._replace(path=f"/{number}", query=parse.urlencode(query)).geturl()


# {% endif %}
def split_server_url(url: str) -> parse.SplitResult:
    """Split the URL of a server.

    Raise `ValueError` for a URL without a host and for one with a `#`: libraries accept both, and
    connect to a wrong server. A `#` belongs to a password and must be written as %23.
    """
    parts = parse.urlsplit(url)
    if not parts.hostname or parts.port == 0 or "#" in url:
        raise ValueError(url)
    return parts
