"""Settings: a field is a variable of the environment and a key of `app.config`."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from click import ClickException
from msgspec import Meta, Struct, ValidationError, convert
from msgspec.inspect import ListType, type_info
from msgspec.structs import fields

from .cpus import count_cpus

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0.001, le=3600)]
# {% if cookiecutter.__cache %}
Lifetime = Annotated[int, Meta(ge=1, le=7 * 24 * 3600)]
KeyPart = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
# {% endif %}
Secret = Annotated[str, Meta(min_length=32)]
# `\Z` is the end; `$` would let a last line break through.
Host = Annotated[str, Meta(pattern=r"^\.?[A-Za-z0-9.:\[\]-]+\Z")]
RateLimit = Annotated[str, Meta(pattern=r"^[1-9][0-9]*/(second|minute|hour|day)\Z")]
Origin = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.*:\[\]-]+\Z")]


class Settings(Struct, frozen=True, kw_only=True):
    """`.env.example` explains each of them."""

    DEBUG: bool = False
    TESTING: bool = False

    # {% if cookiecutter.__database %}
    DATABASE_URL: Annotated[str, Meta(pattern=r"^[a-z0-9]+(\+[a-z0-9]+)?://")]
    DATABASE_STATEMENT_TIMEOUT: Seconds = 10.0
    DATABASE_SLOW_MS: Count = 200
    DATABASE_REPEATED: Count = 10

    # {% endif %}
    # {% if cookiecutter.__pooled %}
    DATABASE_POOL_SIZE: Annotated[int, Meta(ge=1)] = 5
    DATABASE_POOL_OVERFLOW: Count = 5
    DATABASE_POOL_PRE_PING: bool = True
    DATABASE_POOL_RECYCLE: Annotated[int, Meta(ge=1)] = 1800
    DATABASE_CONNECT_TIMEOUT: Annotated[int, Meta(ge=1)] = 3

    # {% endif %}
    # {% if cookiecutter.__cache %}
    CACHE_URL: Annotated[str, Meta(pattern=r"^[a-z]+://")]
    CACHE_PREFIX: KeyPart = "{{ cookiecutter.project_slug }}"
    CACHE_VERSION: KeyPart = "1"
    CACHE_TIMEOUT: Seconds = 0.05
    CACHE_VIEW_LIFETIME: Lifetime = 60
    CACHE_QUERY_LIFETIME: Lifetime = 300
    CACHE_FRAGMENT_LIFETIME: Lifetime = 300
    CACHE_STALE: Annotated[int, Meta(ge=0, le=7 * 24 * 3600)] = 60
    CACHE_PATIENCE: Lifetime = 5

    # {% endif %}
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    BROKER_URL: Annotated[str, Meta(pattern=r"^(inline|amqps?)://")]
    RESULT_URL: Annotated[str, Meta(pattern=r"^[a-z][A-Za-z0-9_.:+]*://")]

    # {% elif cookiecutter.__redis_queue %}
    BROKER_URL: Annotated[str, Meta(pattern=r"^(inline|rediss?)://")]

    # {% endif %}
    # {% if cookiecutter.__tasks %}
    BROKER_TIMEOUT: Annotated[float, Meta(ge=0.1, le=60)] = 0.5
    JOB_TIME_LIMIT: Seconds = 300.0
    JOB_RETRY_MAX_DELAY: Seconds = 60.0
    JOB_RESULT_TTL: Annotated[int, Meta(ge=60)] = 24 * 3600

    # {% endif %}
    # {% if cookiecutter.__celery %}
    WORKER_PROCESSES: Annotated[int, Meta(ge=1)] = 2
    WORKER_MAX_JOBS: Annotated[int, Meta(ge=1)] = 1000
    WORKER_MAX_MEMORY_MB: Annotated[int, Meta(ge=64)] = 512

    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    SMTP_URL: str
    MAIL_FROM: Annotated[str, Meta(pattern=r"^[^@\s<>]+@[^@\s<>]+\Z")]

    # {% endif %}
    # {% if cookiecutter.__example_jobs %}
    OUTGOING_TIMEOUT: Seconds = 10.0
    OUTGOING_MAX_BYTES: Count = 1024 * 1024
    OUTGOING_PORTS: list[Annotated[int, Meta(ge=1, le=65535)]] = []
    OUTGOING_NETWORKS: list[str] = []

    # {% endif %}
    SECRET_KEY: Secret
    SECRET_KEY_FALLBACKS: list[Secret] = []
    ALLOWED_HOSTS: Annotated[list[Host], Meta(min_length=1)]
    MAX_CONTENT_LENGTH: Count = 1024 * 1024
    HTTP_CACHE_LIFETIME: Count = 10
    HTTP_CACHE_STALE: Count = 60
    # {% if cookiecutter.reverse_proxy == "none" %}
    TRUSTED_PROXY_HOPS: Count = 0
    RATE_LIMIT: RateLimit = "600/minute"
    # {% else %}
    TRUSTED_PROXY_HOPS: Count = 1
    # {% endif %}
    RATE_LIMIT_WRITES: RateLimit = "60/minute"
    RATE_LIMIT_EXPENSIVE: RateLimit = "60/minute"
    CONTENT_SOURCES: list[Origin] = []
    STATIC_ROOT: str = "public"

    # {% if cookiecutter.__cdn_peers %}
    CDN_ADDRESSES: str = "deploy/cdn/addresses.conf"
    # {% endif %}
    # {% if cookiecutter.__cdn %}
    CDN_URL: Origin = ""
    CDN_CACHE_LIFETIME: Count = 60
    CDN_CACHE_STALE: Count = 3600
    CDN_API_URL: Annotated[str, Meta(pattern=r"^https?://[^/\s]+(/[^\s?#]*[^/\s?#])?\Z")] = ""
    CDN_ID: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z")] = ""
    CDN_TOKEN: Annotated[str, Meta(pattern=r"^[!-~]+\Z")] = ""

    # {% endif %}
    BIND: Annotated[str, Meta(pattern=r"^(unix:/[^\s:]+|[^\s/]+:[0-9]{1,5})\Z")] = "127.0.0.1:8000"
    WEB_CONCURRENCY: Positive = msgspec.field(default_factory=count_cpus)
    WEB_THREADS: Positive = 4
    WEB_TIMEOUT: Positive = 30
    # {% if cookiecutter.wsgi_server == "gunicorn" %}
    WEB_WORKER_CLASS: Literal["gthread", "gevent"] = "{{ cookiecutter.__worker_class }}"
    # {% endif %}

    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    READINESS_TIMEOUT: Seconds = 2.0


# What debug and testing mode use for a variable that is not set.
EMBEDDED = {
    "SECRET_KEY": "not-a-secret-and-refused-in-production",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
    # {% if cookiecutter.__cache %}
    "CACHE_URL": "memory://",
    # {% endif %}
    # {% if cookiecutter.__database %}
    "DATABASE_URL": "sqlite:///development.sqlite3",
    # {% endif %}
    # {% if cookiecutter.task_queue == "celery-rabbitmq" %}
    "BROKER_URL": "inline://",
    "RESULT_URL": "inline://",
    # {% elif cookiecutter.__redis_queue %}
    "BROKER_URL": "inline://",
    # {% endif %}
    # {% if cookiecutter.__catalog_jobs %}
    "SMTP_URL": "log:",
    "MAIL_FROM": "service@localhost",
    # {% endif %}
}

# Flask calls the variables so; `flask run --debug` sets the first.
VARIABLES = {"DEBUG": "FLASK_DEBUG", "TESTING": "FLASK_TESTING"}

# A secret with fewer is no random one.
DIFFERENT_CHARACTERS = 10


class SettingsError(ClickException):
    """Names every setting that is missing, malformed or unsafe."""

    def __init__(self, faults: list[str]) -> None:
        lines = "\n  ".join(faults)
        super().__init__(f"the settings are not fit to start with (see .env.example):\n  {lines}")


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check all settings; raise one `SettingsError` for all that is wrong."""
    given = {
        name: environ.get(VARIABLES.get(name, name), "") for name in Settings.__struct_fields__
    }
    is_strict = {given["DEBUG"].lower(), given["TESTING"].lower()}.isdisjoint({"1", "true"})
    if not is_strict:
        given |= {name: text for name, text in EMBEDDED.items() if not given[name]}

    values: dict[str, Any] = {}
    faults = []
    for field in fields(Settings):
        variable = VARIABLES.get(field.name, field.name)
        if given[field.name]:
            try:
                values[field.name] = _parse(given[field.name], field.type)
            except ValidationError as error:
                faults.append(f"{variable}: {error}")
        elif field.required:
            faults.append(f"{variable} is missing")
    secrets = [values.get("SECRET_KEY"), *values.get("SECRET_KEY_FALLBACKS", [])]
    if is_strict and any(_is_guessable(secret) for secret in secrets if secret):
        faults.append("SECRET_KEY is guessable: make one with `openssl rand -hex 32`")
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _parse(text: str, kind: Any) -> Any:
    """Convert text to a field's type; lists are separated by commas."""
    is_list = isinstance(type_info(kind), ListType)
    value = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return convert(value, kind, strict=False)


def _is_guessable(secret: str) -> bool:
    return secret == EMBEDDED["SECRET_KEY"] or len(set(secret)) < DIFFERENT_CHARACTERS
