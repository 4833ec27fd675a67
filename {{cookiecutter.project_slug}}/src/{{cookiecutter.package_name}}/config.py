"""Settings: each field of `Settings` is read from the environment variable of its name."""

import os
import re
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from flask import Flask, current_app
from msgspec import Meta, Struct, convert
from msgspec.inspect import DictType, ListType, type_info
from msgspec.structs import FieldInfo, fields

# Types of settings. Error messages quote the description of a type, or else its limits.
NonNegativeInt = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PositiveInt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Concurrency = Annotated[int, Meta(ge=1, le=1000)]
Seconds = Annotated[float, Meta(ge=0.001, le=3600)]
# {% if cookiecutter.__cache %}
TTL = Annotated[int, Meta(ge=1, le=7 * 24 * 3600)]
Slug = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="at most 64 letters, digits, dots, hyphens and underscores",
    ),
]
# {% endif %}
Secret = Annotated[str, Meta(min_length=32, description="at least 32 characters")]
# `\Z` is the end of the text; `$` would also match before a final line break.
Host = Annotated[
    str,
    Meta(
        pattern=r"^(\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?\Z",
        description="a host such as www.example.com",
    ),
]
RateLimit = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)\Z",
        description="a limit such as 60/minute",
    ),
]
Origin = Annotated[
    str,
    Meta(
        pattern=r"^https?://[A-Za-z0-9.*:\[\]-]+\Z",
        description="a scheme and a host, such as https://www.example.com",
    ),
]
URL = Annotated[
    str,
    Meta(pattern=r"^[a-z][A-Za-z0-9+._-]*:", description="a URL as .env.example shows it"),
]

PORT = r"([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


def count_cpus() -> int:
    """Return the number of CPUs that this process may run on, as Python 3.13's `process_cpu_count`.

    It does not include the CPU quota of a container: set WEB_CONCURRENCY where there is one.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


# {% if cookiecutter.auth == "jwt" %}
ServiceURL = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#/]+)*\Z",
        description="a URL such as https://api.example.com/v1, without a slash at the end",
    ),
]


class Upstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service that this one calls with access tokens of its own (client credentials)."""

    url: ServiceURL
    token_url: ServiceURL
    client_id: str
    client_secret: str
    scope: str = ""
    audience: str = ""


# {% endif %}
# {% if cookiecutter.auth == "oidc" %}
Issuer = Annotated[
    str,
    Meta(
        # Without TLS for a provider on this machine only.
        pattern=r"^(https://[^\s?#]+|http://(localhost|127\.0\.0\.1)(:[0-9]+)?(/[^\s?#]*)?|development:)\Z",
        description="the https:// URL of an issuer",
    ),
]


class OIDCProvider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider where users log in; the settings `OIDC_…` explain each field."""

    issuer: Issuer
    client_id: str
    client_secret: str = ""
    title: str = ""
    scopes: str = "openid email profile"
    roles_claim: str = "roles"
    roles: dict[str, str] = {}
    required_claims: dict[str, str] = {}


# {% endif %}
class Settings(Struct, frozen=True, kw_only=True, dict=True):
    """The settings of an application, typed and validated; `.env.example` explains each of them.

    A field without a default is required in production. To add a setting, add a field here and a
    line in `.env.example`, and read it as `get_settings().NAME`.
    """

    # Mode: development, tests, or production if both are false.
    DEBUG: bool = False
    TESTING: bool = False

    # {% if cookiecutter.__database %}
    # Database: connection, statements, and logging of queries.
    DATABASE_URL: URL
    DATABASE_STATEMENT_TIMEOUT: Seconds = 4.0
    SLOW_QUERY_MS: NonNegativeInt = 200
    REPEATED_QUERY_THRESHOLD: NonNegativeInt = 10

    # {% endif %}
    # {% if cookiecutter.database == "postgresql" %}
    DATABASE_POOLER: Literal["none", "transaction"] = "none"
    # {% endif %}
    # {% if cookiecutter.database == "cassandra" %}
    # Database: the cluster, and the replicas that confirm reads and writes.
    DATABASE_LOCAL_DATACENTER: str = "datacenter1"
    DATABASE_REPLICATION_FACTOR: Annotated[int, Meta(ge=1, le=20)] = 3
    DATABASE_CONSISTENCY: Literal["LOCAL_QUORUM", "QUORUM", "LOCAL_ONE", "ONE", "ALL"] = (
        "LOCAL_QUORUM"
    )
    DATABASE_LIGHTWEIGHT_TRANSACTIONS: bool = True
    DATABASE_PROTOCOL_VERSION: Annotated[int, Meta(ge=1, le=5)] = 4
    DATABASE_TLS: bool = False
    DATABASE_CA_FILE: str = ""
    DATABASE_CONNECT_TIMEOUT: Seconds = 3.0
    DATABASE_CONCURRENCY: Annotated[int, Meta(ge=1, le=1000)] = 50

    # {% endif %}
    # {% if cookiecutter.database == "mongodb" %}
    # Database: connections, and the servers that confirm reads and writes.
    DATABASE_POOL_SIZE: PositiveInt = 20
    DATABASE_CONNECT_TIMEOUT: Annotated[int, Meta(ge=1, le=3600)] = 3
    DATABASE_WRITE_CONCERN: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z][A-Za-z0-9._-]{0,63}|[1-9][0-9]?)?\Z",
            description="majority, or a number of servers",
        ),
    ] = ""
    DATABASE_READ_CONCERN: Literal["", "local", "available", "majority", "linearizable"] = ""

    # {% endif %}
    # {% if cookiecutter.__pooled %}
    # Database: connections and their pool.
    DATABASE_TIMEOUT: Seconds = 5.0
    DATABASE_MIGRATION_URL: URL = ""
    DATABASE_CA_FILE: str = ""
    DATABASE_POOL_SIZE: PositiveInt = 10
    DATABASE_MAX_OVERFLOW: NonNegativeInt = 0
    DATABASE_POOL_PRE_PING: bool = True
    DATABASE_POOL_RECYCLE: PositiveInt = 1800
    DATABASE_CONNECT_TIMEOUT: Annotated[int, Meta(ge=1, le=3600)] = 3

    # {% endif %}
    # {% if cookiecutter.__cache %}
    # Cache: server, keys, and how long values are fresh.
    CACHE_URL: URL
    CACHE_PREFIX: Slug = "{{ cookiecutter.project_slug }}"
    CACHE_VERSION: Slug = "1"
    CACHE_TIMEOUT: Seconds = 0.05
    CACHE_VIEW_TTL: TTL = 60
    CACHE_QUERY_TTL: TTL = 300
    CACHE_FRAGMENT_TTL: TTL = 300
    CACHE_STALE_TTL: Annotated[int, Meta(ge=0, le=7 * 24 * 3600)] = 60
    CACHE_LOCK_TIMEOUT: TTL = 3

    # {% endif %}
    # {% if cookiecutter.cache == "redis" %}
    CACHE_CA_FILE: str = ""

    # {% endif %}
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    RESULT_URL: URL
    RESULT_CA_FILE: str = ""
    # {% endif %}
    # {% if cookiecutter.__tasks %}
    # Message broker of background jobs.
    BROKER_URL: URL
    BROKER_CA_FILE: str = ""
    BROKER_TIMEOUT: Annotated[float, Meta(ge=0.1, le=60)] = 0.5
    # Background jobs.
    JOB_TIME_LIMIT: Seconds = 300.0
    JOB_RETRY_BACKOFF_MAX: Seconds = 60.0
    JOB_RESULT_TTL: Annotated[int, Meta(ge=60, le=2**31 - 1)] = 24 * 3600

    # {% endif %}
    # {% if cookiecutter.__celery %}
    # Processes of the worker.
    WORKER_CONCURRENCY: Concurrency = 2
    # {% endif %}
    # {% if cookiecutter.__tasks %}
    WORKER_MAX_TASKS_PER_CHILD: PositiveInt = 1000
    WORKER_MAX_MEMORY_MB: Annotated[int, Meta(ge=64, le=2**20)] = 512

    # {% endif %}
    # {% if cookiecutter.__mail %}
    # E-mail.
    SMTP_URL: URL
    SMTP_CA_FILE: str = ""
    MAIL_DEFAULT_SENDER: Annotated[
        str, Meta(pattern=r"^[^@\s<>]+@[^@\s<>]+\Z", description="an e-mail address")
    ]

    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    # Imports.
    NOTIFY_DOMAINS: list[Host] = []
    RATE_LIMIT_IMPORTS: RateLimit = "10/hour"

    # {% endif %}
    # {% if cookiecutter.__http_client %}
    # Requests to other services.
    HTTP_CLIENT_TIMEOUT: Seconds = 10.0
    HTTP_CLIENT_MAX_BYTES: NonNegativeInt = 1024 * 1024
    HTTP_CLIENT_ALLOWED_PORTS: list[Annotated[int, Meta(ge=1, le=65535)]] = []
    HTTP_CLIENT_ALLOWED_NETWORKS: list[str] = []

    # {% endif %}
    # {% if cookiecutter.__page_titles %}
    RATE_LIMIT_TITLES: RateLimit = "10/minute"
    # {% endif %}
    # Security.
    SECRET_KEY: Secret
    SECRET_KEY_FALLBACKS: list[Secret] = []
    ALLOWED_HOSTS: Annotated[list[Host], Meta(min_length=1)]
    CORS_ORIGINS: list[
        Annotated[
            str,
            Meta(
                pattern=rf"^https?://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:{PORT})?\Z",
                description="an origin such as https://app.example.com, without * and path",
            ),
        ]
    ] = []
    MAX_CONTENT_LENGTH: NonNegativeInt = 1024 * 1024
    # {% if cookiecutter.auth == "jwt" %}
    # Bearer tokens.
    JWT_ISSUER: str
    JWT_AUDIENCE: str
    JWT_JWKS_URL: Annotated[
        str,
        Meta(
            pattern=r"^((https?|file)://[^\s]+|development:)\Z",
            description="the URL of a JSON Web Key Set",
        ),
    ]
    JWT_ALGORITHMS: Annotated[
        list[Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]],
        Meta(min_length=1),
    ] = msgspec.field(default_factory=lambda: ["RS256", "ES256"])
    JWT_ROLES_CLAIM: str = "roles"
    JWT_LEEWAY: Annotated[int, Meta(ge=0, le=300)] = 30
    # Services that this one calls.
    UPSTREAMS: dict[
        Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}\Z")],
        Upstream,
    ] = {}
    # {% endif %}
    # {% if cookiecutter.auth == "oidc" %}
    # Login at a provider.
    OIDC_ISSUER: Issuer
    OIDC_CLIENT_ID: str
    OIDC_CLIENT_SECRET: str = ""
    OIDC_TITLE: str = ""
    OIDC_SCOPES: str = "openid email profile"
    OIDC_ROLES_CLAIM: str = "roles"
    OIDC_ROLES: dict[str, str] = {}
    OIDC_REQUIRED_CLAIMS: dict[str, str] = {}
    OIDC_PROVIDERS: dict[
        Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}\Z")],
        OIDCProvider,
    ] = {}
    OIDC_TIMEOUT: Annotated[float, Meta(ge=0.1, le=30)] = 3.0
    RATE_LIMIT_LOGINS: RateLimit = "30/minute"
    # {% endif %}
    # {% if cookiecutter.auth == "accounts" %}
    # Accounts: registration, sessions, limits.
    REGISTRATION: bool = True
    # Links to confirm an address are valid for three days.
    UNCONFIRMED_RETENTION_DAYS: Annotated[int, Meta(ge=3, le=3650)] = 7
    ACCOUNT_LINKS_URL: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s?#]*[^\s?#/]\Z",
            description="a URL such as https://app.example.com/account, without a slash at the end",
        ),
    ] = ""
    RATE_LIMIT_LOGIN: RateLimit = "20/minute"
    RATE_LIMIT_LOGIN_ACCOUNT: RateLimit = "50/hour"
    RATE_LIMIT_ACCOUNT_MAILS: RateLimit = "5/hour"
    # {% endif %}
    # {% if cookiecutter.__login %}
    # Sessions of browsers, in seconds.
    SESSION_IDLE_TIMEOUT: Annotated[int, Meta(ge=60, le=30 * 24 * 3600)] = 3600
    SESSION_TIMEOUT: Annotated[int, Meta(ge=60, le=365 * 24 * 3600)] = 12 * 3600
    REAUTHENTICATION_TIMEOUT: PositiveInt = 15 * 60
    # {% endif %}
    # {% if cookiecutter.__identity_cache %}
    SESSION_CACHE_TTL: Annotated[int, Meta(ge=0, le=3600)] = 30
    # {% endif %}
    # {% if cookiecutter.__auth_table %}
    AUDIT_RETENTION_DAYS: Annotated[int, Meta(ge=1, le=36500)] = 365
    # {% endif %}
    # Caching of public responses by browsers and proxies.
    HTTP_CACHE_TTL: NonNegativeInt = 10
    HTTP_CACHE_STALE_TTL: NonNegativeInt = 60
    # Proxies, rate limits and URLs.
    # {% if cookiecutter.reverse_proxy == "none" %}
    TRUSTED_PROXY_HOPS: NonNegativeInt = 0
    RATE_LIMIT: RateLimit = "600/minute"
    # {% else %}
    TRUSTED_PROXY_HOPS: NonNegativeInt = 1
    # {% endif %}
    RATE_LIMIT_WRITES: RateLimit = "60/minute"
    URL_PREFIX: Annotated[
        str,
        Meta(
            pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\Z",
            description="a path such as /shop, without a slash at the end",
        ),
    ] = ""
    # {% if cookiecutter.cdn == "none" %}
    TRUSTED_PROXY_PREFIX: bool = False
    # {% endif %}
    CSP_SOURCES: list[Origin] = []
    STATIC_ROOT: str = "public"

    # {% if cookiecutter.__cdn_peers %}
    CDN_ADDRESSES: str = "deploy/cdn/addresses.conf"
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    # CDN.
    CDN_URL: Origin = ""
    CDN_CACHE_TTL: NonNegativeInt = 60
    CDN_CACHE_STALE_TTL: NonNegativeInt = 3600
    CDN_API_URL: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^/\s]+(/[^\s?#]*[^/\s?#])?\Z",
            description="a URL such as https://api.example.com/v1, without a slash at the end",
        ),
    ] = ""
    CDN_ID: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9_-]+\Z", description="letters, digits, hyphens and underscores"),
    ] = ""
    CDN_TOKEN: Annotated[
        str, Meta(pattern=r"^[!-~]+\Z", description="printable ASCII characters without spaces")
    ] = ""

    # {% endif %}
    # Application server.
    BIND: Annotated[
        str,
        Meta(
            pattern=rf"^(unix:/[^\s:]+|[^\s/]+:{PORT})\Z",
            description="an address such as 0.0.0.0:8000, or a socket such as unix:/run/web.sock",
        ),
    ] = "127.0.0.1:8000"
    WEB_CONCURRENCY: Concurrency = msgspec.field(default_factory=count_cpus)
    WEB_THREADS: Concurrency = 16
    WEB_TIMEOUT: PositiveInt = 30
    # {% if cookiecutter.wsgi_server == "gunicorn" %}
    WEB_WORKER_CLASS: Literal["gthread", "gevent"] = "{{ cookiecutter.__worker_class }}"
    # {% endif %}

    # {% if cookiecutter.__metrics_bind %}
    METRICS_BIND: Annotated[
        str,
        Meta(pattern=rf"^[^\s/]+:{PORT}\Z", description="an address such as 0.0.0.0:9464"),
    ] = "127.0.0.1:9464"
    # {% endif %}
    # {% if cookiecutter.monitoring == "prometheus" %}
    # Metrics.
    METRICS_FOLDER: str = ""
    METRICS_ALLOWED_NETWORKS: list[str] = []
    # {% endif %}
    # {% if cookiecutter.__monitoring %}
    APP_VERSION: Annotated[
        str,
        Meta(pattern=r"^[^\s/\\]{1,200}\Z", description="a version without spaces and slashes"),
    ] = "unknown"

    # {% endif %}
    # {% if cookiecutter.__web_vitals %}
    # Real user monitoring.
    WEB_VITALS_SAMPLE_RATE: Annotated[float, Meta(ge=0, le=1)] = 1.0
    RATE_LIMIT_WEB_VITALS: RateLimit = "120/minute"

    # {% endif %}
    # {% if cookiecutter.monitoring == "opentelemetry" %}
    # Traces, metrics and logs. OpenTelemetry reads other variables OTEL_… from the environment.
    OTEL_EXPORTER_OTLP_ENDPOINT: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^\s?#@]+\Z",
            description="a URL such as http://collector:4318, without /v1/traces",
        ),
    ] = ""
    OTEL_TRACES_SAMPLER: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = "parentbased_always_on"
    OTEL_TRACES_SAMPLER_ARG: Annotated[float, Meta(ge=0, le=1)] = 1.0
    OTEL_TRACES_EXPORTER: Literal["none", "otlp"] = "otlp"
    OTEL_METRICS_EXPORTER: Literal["none", "otlp"] = "otlp"
    OTEL_LOGS_EXPORTER: Literal["none", "otlp"] = "none"
    OTEL_SDK_DISABLED: bool = False
    TRUSTED_TRACEPARENT: bool = False

    # {% endif %}
    # {% if cookiecutter.error_tracking == "sentry" %}
    # Error reports.
    SENTRY_DSN: Annotated[
        str,
        Meta(
            pattern=r"^https?://[^@\s/]+@[^@\s/]+(/[^\s?#]*)?/[0-9]+\Z",
            description="the DSN of a project, such as https://key@sentry.example.com/1",
        ),
    ] = ""
    SENTRY_ENVIRONMENT: Annotated[
        str,
        Meta(
            pattern=r"^[^\s/]{1,64}\Z",
            description="a name without spaces and slashes, such as production",
        ),
    ] = "production"
    SENTRY_RELEASE: Annotated[
        str,
        Meta(pattern=r"^[^\s/\\]{1,200}\Z", description="a version without spaces and slashes"),
    ] = ""

    # {% endif %}
    # Operation.
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    READINESS_TIMEOUT: Seconds = 2.0


# Defaults of required settings in debug and testing mode. Production has none.
DEVELOPMENT_DEFAULTS = {
    "SECRET_KEY": "not-a-secret-and-rejected-in-production",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
    # {% if cookiecutter.__cache %}
    "CACHE_URL": "memory://",
    # {% endif %}
    # {% if cookiecutter.__database %}
    "DATABASE_URL": "{{ cookiecutter.__development_database_url }}",
    # {% endif %}
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    # {% elif cookiecutter.__redis_queue %}
    "BROKER_URL": "inline://",
    # {% endif %}
    # {% if cookiecutter.auth == "jwt" %}
    "JWT_ISSUER": "development",
    "JWT_AUDIENCE": "development",
    "JWT_JWKS_URL": "development:",
    # {% endif %}
    # {% if cookiecutter.auth == "oidc" %}
    "OIDC_ISSUER": "development:",
    "OIDC_CLIENT_ID": "development",
    # {% endif %}
    # {% if cookiecutter.__mail %}
    "SMTP_URL": "log:",
    "MAIL_DEFAULT_SENDER": "service@localhost",
    # {% endif %}
}

# Old names of settings. This version accepts them with a warning; the next one does not.
# Components add those of their settings.
RENAMED = {
    "CONTENT_SOURCES": "CSP_SOURCES",
    "HTTP_CACHE_LIFETIME": "HTTP_CACHE_TTL",
    "HTTP_CACHE_STALE": "HTTP_CACHE_STALE_TTL",
}

# Environment variables that Flask itself reads; `flask run --debug` sets the first.
ENV_NAMES = {"DEBUG": "FLASK_DEBUG", "TESTING": "FLASK_TESTING"}

# Debug mode shows errors and uses public secrets, so it accepts local connections only.
LOOPBACK = re.compile(r"unix:.*|::1|(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?")

# Exceptions for a text that cannot be converted; a variable may contain any bytes.
PARSE_ERRORS = (UnicodeError, msgspec.DecodeError)

# A secret with fewer different characters is not random.
MIN_UNIQUE_CHARACTERS = 10

# Settings whose value never appears in an error message. URLs appear with their scheme only.
# {% if cookiecutter.auth == "jwt" %}
CONFIDENTIAL = re.compile("SECRET|PASSWORD|TOKEN|KEY|PROVIDERS|UPSTREAMS")
# {% else %}
CONFIDENTIAL = re.compile("SECRET|PASSWORD|TOKEN|KEY|PROVIDERS")
# {% endif %}
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(//)?")

# Descriptions of types and limits, by the keys of their JSON schema.
TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a JSON object as .env.example shows it",
}
LIMITS = {"minimum": "from", "maximum": "to", "pattern": "that matches"}


def get_settings(app: Flask | None = None) -> Settings:
    """Return the settings of an application, by default of the current one."""
    settings: Settings = (app or current_app).extensions["settings"]
    return settings


class ClientFactory(NamedTuple):
    """A function that creates the client of a service, and the URLs and errors it expects."""

    create: Callable[[str, Settings], Any]
    expected: str
    errors: tuple[type[Exception], ...]


CLIENT_FACTORIES: dict[str, ClientFactory] = {}

# Errors of clients: the URL is malformed, or its scheme, option, driver or file is unknown.
URL_ERRORS = (ImportError, KeyError, OSError, TypeError, ValueError)


def register_client(
    create: Callable[[str, Settings], Any],
    *names: str,
    expected: str,
    errors: tuple[type[Exception], ...] = (),
) -> None:
    """Create a client for the URL in each of these settings when the settings are read.

    `create` gets the name of the setting and all settings. It must not connect. If it raises one of
    `URL_ERRORS` or `errors`, the setting is reported as invalid, together with all others. The
    lines of a `SettingsError` are reported as they are.
    """
    factory = ClientFactory(create, expected, URL_ERRORS + errors)
    CLIENT_FACTORIES.update(dict.fromkeys(names, factory))


def take_client(name: str, settings: Settings) -> Any:
    """Return the client that was created when the settings were read.

    The first call gets it. Another one, as of a second application, gets a new client.
    """
    client = vars(settings).pop(name, None)
    return CLIENT_FACTORIES[name].create(name, settings) if client is None else client


class SettingsError(SystemExit):
    """All settings that are missing, malformed or unsafe.

    The exception ends the process with these lines and without a traceback.
    """

    def __init__(self, *errors: str) -> None:
        self.errors = errors
        lines = "\n  ".join(errors)
        super().__init__(f"Error: missing or invalid settings (see .env.example):\n  {lines}")


def invalid(name: str, expected: str, value: str) -> str:
    """Return an error message for an invalid setting, without secrets."""
    if CONFIDENTIAL.search(name):
        got = f"{len(value)} characters"
    elif name.endswith("_URL") or "://" in value:
        scheme = SCHEME.match(value)
        got = f"'{scheme[0] if scheme else ''}…' (special characters are written as %XX)"
    else:
        got = repr(value[:80])
    return f"{name}: expected {expected}, got {got}"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and validate all settings; raise one `SettingsError` with all errors."""
    environ = _rename(environ)
    raw = {name: environ.get(ENV_NAMES.get(name, name), "") for name in Settings.__struct_fields__}
    is_production = {raw["DEBUG"].lower(), raw["TESTING"].lower()}.isdisjoint({"1", "true"})
    if not is_production:
        raw |= {name: text for name, text in DEVELOPMENT_DEFAULTS.items() if not raw[name]}

    values: dict[str, Any] = {}
    errors = []
    for field in fields(Settings):
        variable = ENV_NAMES.get(field.name, field.name)
        text = raw[field.name]
        if text:
            try:
                values[field.name] = _parse(text, field.type)
            except PARSE_ERRORS:
                errors.append(invalid(variable, _describe(msgspec.json.schema(field.type)), text))
        elif field.required:
            errors.append(f"{variable} is missing")
    errors += _check_secrets(values) if is_production else _check_hosts(values, environ)
    errors += _check_ca_files(values)
    complete = {field.name: _default(field) for field in fields(Settings)} | values
    settings = Settings(**complete)
    errors += _create_clients(settings, values)
    if errors:
        raise SettingsError(*errors)
    return settings


def find_public_addresses(addresses: Mapping[str, str]) -> list[str]:
    """Return error messages for addresses that other machines can reach, by their setting."""
    expected = "a loopback address in debug mode, such as 127.0.0.1:8000"
    return [
        invalid(name, expected, address)
        for name, address in addresses.items()
        if not LOOPBACK.fullmatch(address)
    ]


def _rename(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are not empty, with new names; a new name takes precedence."""
    variables = {name: text for name, text in environ.items() if text}
    for old, new in RENAMED.items():
        if old in variables:
            variables.setdefault(new, variables.pop(old))
            message = f"the setting {old} has been renamed: set {new} instead"
            warnings.warn(message, FutureWarning, stacklevel=3)
    return variables


def _create_clients(settings: Settings, values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value and (factory := CLIENT_FACTORIES.get(name)):
            try:
                vars(settings)[name] = factory.create(name, settings)
            except factory.errors:
                yield invalid(name, factory.expected, value)
            except SettingsError as error:
                yield from error.errors


def _check_secrets(values: Mapping[str, Any]) -> list[str]:
    secrets = {
        "SECRET_KEY": [values.get("SECRET_KEY", "")],
        "SECRET_KEY_FALLBACKS": values.get("SECRET_KEY_FALLBACKS", []),
    }
    return [
        f"{name} is guessable: create one with `openssl rand -hex 32`"
        for name, texts in secrets.items()
        if any(_is_guessable(text) for text in texts if text)
    ]


def _check_hosts(values: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    hosts = {name: value for name, value in values.items() if name.endswith("BIND")}
    hosts["FLASK_RUN_HOST"] = environ.get("FLASK_RUN_HOST")
    return find_public_addresses({name: host for name, host in hosts.items() if host})


def _check_ca_files(values: dict[str, Any]) -> Iterator[str]:
    expected = "a readable file of certificates in PEM format"
    for name, path in [*values.items()]:
        if name.endswith("_CA_FILE") and not _is_ca_file(path):
            yield invalid(name, expected, values.pop(name))


def _is_ca_file(path: str) -> bool:
    with suppress(OSError, ValueError):
        ssl.create_default_context(cafile=path)
        return True
    return False


def _default(field: FieldInfo) -> Any:
    """Return the default of a field; an empty text if it is required."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return "" if field.required else field.default


def _parse(text: str, kind: Any) -> Any:
    """Convert text to a field's type; items of a list are separated by commas, objects are JSON."""
    if isinstance(type_info(kind), DictType):
        return msgspec.json.decode(text, type=kind)
    is_list = isinstance(type_info(kind), ListType)
    value = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return convert(value, kind, strict=False)


def _describe(schema: dict[str, Any]) -> str:
    """Return what a setting accepts, from the JSON schema of its type."""
    if "items" in schema:
        return f"{_describe(schema['items'])}, or several separated by commas"
    if "enum" in schema:
        return " or ".join(map(str, filter(None, schema["enum"])))
    if "description" in schema:
        return str(schema["description"])
    limits = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    return " ".join([TYPES.get(schema.get("type", ""), "a text"), *limits])


def _is_guessable(secret: str) -> bool:
    return secret == DEVELOPMENT_DEFAULTS["SECRET_KEY"] or len(set(secret)) < MIN_UNIQUE_CHARACTERS
