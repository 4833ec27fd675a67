"""The CDN in front: what it may keep, what it is to forget, and static files from its address."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

from flask import Config, Flask, Response, current_app, request

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
)
from .calls import Call, PurgeError

__all__ = [
    "get_cdn",
    "init_app",
    "tag_view",
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
    """What the application says to its CDN."""

    selector = provider.SELECTOR
    # The file that lists its addresses, and the form of a line.
    # {% if cookiecutter.reverse_proxy == "nginx" %}
    addresses = Path("deploy/nginx/cdn-addresses.conf")
    form = "set_real_ip_from {};"
    # {% elif cookiecutter.reverse_proxy == "apache" %}
    addresses = Path("deploy/apache/cdn-addresses.conf")
    form = "RemoteIPTrustedProxy {}"
    # {% else %}
    addresses = Path("deploy/cdn/addresses.conf")
    form = "{}"
    # {% endif %}

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tags: dict[str, list[str]] = {}
        self.public = (
            f"public, max-age={config['HTTP_CACHE_LIFETIME']},"
            f" stale-while-revalidate={config['HTTP_CACHE_STALE']}"
        )
        self.lifetime = (
            f"public, max-age={config['CDN_CACHE_LIFETIME']},"
            f" stale-while-revalidate={config['HTTP_CACHE_STALE']},"
            f" stale-if-error={config['CDN_CACHE_STALE']}"
        )

    def describe(self, response: Response) -> Response:
        """Say of a public answer how long the CDN may keep it, and under which tags."""
        control = response.headers.get("Cache-Control", "")
        # What a view says itself goes before, as does what static files are said to be.
        if control == self.public:
            endpoint = request.endpoint or ""
            tags = [request.blueprint or endpoint, *self.tags.get(endpoint, [])]
            response.headers.update(provider.describe(self.lifetime, control, tags))
        return response

    def purge(self, *paths: str, tags: Sequence[str] = ()) -> None:
        """Make it forget; that takes up to a minute, so it is nothing for a request to wait for."""
        for call in self.plan(paths, tags):
            call.make()

    def plan(
        self,
        paths: Sequence[str],
        tags: Sequence[str],
        *,
        everything: bool = False,
    ) -> Iterator[Call]:
        """Plan the calls that make it forget paths of this site, whole addresses, and tags."""
        missing = [name for name in provider.NEEDED if not self.config[name]]
        if missing:
            raise PurgeError(f"{' and '.join(missing)} must be set")
        names = [host for host in self.config["ALLOWED_HOSTS"] if not host.startswith(".")]
        site = f"https://{names[0]}" if names else ""
        addresses = [urljoin(site, path) for path in paths]
        if wrong := [address for address in addresses if "://" not in address]:
            raise PurgeError(f"{wrong[0]} is neither a path of a known site nor a whole address")
        return provider.plan(self.config, addresses, tags, everything=everything)


def init_app(app: Flask) -> None:
    """Tell the CDN of each public answer; take static files from it, if it has its own address."""
    app.extensions["cdn"] = cdn = Cdn(app.config)
    app.cli.add_command(commands.cdn)
    app.after_request(cdn.describe)
    if app.config["CDN_URL"] and not app.debug:
        static_files.init_app(app, app.config["CDN_URL"])


def get_cdn() -> Cdn:
    """Return the current application's CDN."""
    cdn: Cdn = current_app.extensions["cdn"]
    return cdn


def tag_view(app: Flask, endpoint: str, *tags: str) -> None:
    """Say what a view's answers are made of, beside their blueprint, which is a tag of its own."""
    app.extensions["cdn"].tags[endpoint] = list(tags)
