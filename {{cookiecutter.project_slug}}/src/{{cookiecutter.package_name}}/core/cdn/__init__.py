"""The CDN: TTLs and tags of responses, purging, and static files from its URL."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

from flask import Flask, Response, current_app, request

from ...config import RENAMED, Settings, get_settings
from ..proxy_fix import has_prefix
from ..tags import Tags, tag_names
from . import (
    # {% if cookiecutter.cdn == "cloudflare" %}
    cloudflare,
    # {% elif cookiecutter.cdn == "cloudfront" %}
    cloudfront,
    # {% endif %}
    commands,
    # {% if cookiecutter.cdn == "fastly" %}
    fastly,
    # {% elif cookiecutter.cdn == "generic" %}
    generic,
    # {% endif %}
    static_files,
    # {% if cookiecutter.__cdn_peers %}
    trusted_peers,
    # {% endif %}
)
from .client import PurgeCall, PurgeError

RENAMED.update(CDN_CACHE_LIFETIME="CDN_CACHE_TTL", CDN_CACHE_STALE="CDN_CACHE_STALE_TTL")

__all__ = [
    "get_cdn",
    "init_app",
    # {% if cookiecutter.__cdn_peers %}
    "trusted_peers",
    # {% endif %}
]

# {% if cookiecutter.cdn == "cloudflare" %}
provider = cloudflare
# {% elif cookiecutter.cdn == "cloudfront" %}
provider = cloudfront
# {% elif cookiecutter.cdn == "fastly" %}
provider = fastly
# {% elif cookiecutter.cdn == "generic" %}
provider = generic
# {% endif %}


class Cdn:
    """The CDN of an application."""

    selector = provider.SELECTOR
    # The file that lists its networks, and the format of a line.
    # {% if cookiecutter.reverse_proxy == "nginx" %}
    networks_file = Path("deploy/nginx/cdn-addresses.conf")
    line_format = "set_real_ip_from {};"
    # {% elif cookiecutter.reverse_proxy == "apache" %}
    networks_file = Path("deploy/apache/cdn-addresses.conf")
    line_format = "RemoteIPTrustedProxy {}"
    # {% else %}
    networks_file = Path("deploy/cdn/addresses.conf")
    line_format = "{}"
    # {% endif %}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cache_control = (
            f"public, max-age={settings.CDN_CACHE_TTL},"
            f" stale-while-revalidate={settings.HTTP_CACHE_STALE_TTL},"
            f" stale-if-error={settings.CDN_CACHE_STALE_TTL}"
        )

    def add_headers(self, response: Response, tags: Tags) -> None:
        """Add the headers for the CDN to a public response: its TTL there, and its tags."""
        names = [request.blueprint or request.endpoint or "", *tag_names(tags)]
        browsers = response.headers["Cache-Control"]
        response.headers.update(provider.headers(self.cache_control, browsers, names))

    def purge(self, *paths: str, tags: Tags = ()) -> None:
        """Purge paths and tags. This takes up to a minute: call it outside of a request."""
        self.require_settings()
        for call in self.purge_calls(paths, tags):
            call.send()

    def require_settings(self) -> None:
        """Raise `PurgeError` unless the settings for a purge are set."""
        missing = [name for name in provider.REQUIRED if not getattr(self.settings, name)]
        if missing:
            raise PurgeError(f"{' and '.join(missing)} must be set")

    def purge_calls(
        self,
        paths: Sequence[str],
        tags: Tags,
        *,
        everything: bool = False,
    ) -> Iterator[PurgeCall]:
        """Return the API calls that purge paths of this site or whole URLs, and tags."""
        names = [host for host in self.settings.ALLOWED_HOSTS if not host.startswith(".")]
        site = f"https://{names[0]}" if names else ""
        urls = [urljoin(site, self.public_path(path)) for path in paths]
        if wrong := [url for url in urls if "://" not in url]:
            raise PurgeError(f"{wrong[0]} is neither a path of a known site nor a URL")
        return provider.purge_calls(self.settings, urls, tag_names(tags), everything=everything)

    def public_path(self, path: str) -> str:
        """Return the path by which clients reach a page of this site."""
        prefix = self.settings.URL_PREFIX
        is_complete = not path.startswith("/") or has_prefix(path, prefix)
        return path if is_complete else f"{prefix}{path}"


def init_app(app: Flask) -> None:
    """Set up the CDN; serve static files from CDN_URL if that is set."""
    settings = get_settings(app)
    app.extensions["cdn"] = Cdn(settings)
    app.cli.add_command(commands.cdn)
    if settings.CDN_URL and not app.debug:
        static_files.init_app(app, settings.CDN_URL)


def get_cdn() -> Cdn:
    """Return the CDN of the current application."""
    cdn: Cdn = current_app.extensions["cdn"]
    return cdn
