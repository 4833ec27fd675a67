"""The URL and the options of the driver."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.policies import DCAwareRoundRobinPolicy, RetryPolicy, TokenAwarePolicy
from flask import Flask

from {{ cookiecutter.package_name }} import config
from {{ cookiecutter.package_name }}.core.cassandra.options import (
    ClusterURL,
    IdempotentRetryPolicy,
    cluster_options,
    create_ssl_context,
)

URL = "cassandra://fake/test"


def test_url_names_several_nodes() -> None:
    parsed = ClusterURL.parse("cassandra://ada:p%40ss@node1,node2:9043,[::1]:9044/my_keyspace")
    assert parsed.hosts == [("node1", 9042), ("node2", 9043), ("::1", 9044)]
    assert parsed[1:] == ("my_keyspace", "ada", "p@ss")


@pytest.mark.parametrize(
    "url",
    [
        "oracle://server/name",
        "cassandra://server",
        "cassandra://server/Name",
        "cassandra://server/a-b",
        "cassandra://server:0/name",
        "cassandra://server:x/name",
        "cassandra:///name",
        "cassandra://a,/name",
        "cassandra://server/name?x=1",
    ],
)
def test_malformed_url_is_reported(make_app: Callable[..., Flask], url: str) -> None:
    with pytest.raises(config.SettingsError, match="DATABASE_URL: expected"):
        make_app(DATABASE_URL=url)


def options(make_app: Callable[..., Flask], url: str = URL, **variables: str) -> dict[str, Any]:
    settings = config.get_settings(make_app(**variables))
    return cluster_options(ClusterURL.parse(url), settings)


def test_settings_choose_data_center_and_consistency(make_app: Callable[..., Flask]) -> None:
    chosen = options(
        make_app,
        "cassandra://ada@node1/test",
        DATABASE_LOCAL_DATACENTER="vienna",
        DATABASE_CONSISTENCY="QUORUM",
        DATABASE_LIGHTWEIGHT_TRANSACTIONS="true",
        DATABASE_STATEMENT_TIMEOUT="3",
    )
    profile = chosen["execution_profiles"][EXEC_PROFILE_DEFAULT]
    assert isinstance(profile.load_balancing_policy, TokenAwarePolicy)
    # Private: the policy has no other name for the one inside.
    local = profile.load_balancing_policy._child_policy
    assert isinstance(local, DCAwareRoundRobinPolicy)
    assert local.local_dc == "vienna"
    assert profile.consistency_level == ConsistencyLevel.QUORUM
    assert profile.serial_consistency_level == ConsistencyLevel.LOCAL_SERIAL
    assert profile.request_timeout == 3
    assert chosen["auth_provider"].username == "ada"


@pytest.mark.parametrize(
    "reason", ["on_read_timeout", "on_write_timeout", "on_unavailable", "on_request_error"]
)
def test_idempotent_statements_are_retried_once_on_another_node(reason: str) -> None:
    decide = getattr(IdempotentRetryPolicy(), reason)
    repeated, other = (SimpleNamespace(is_idempotent=value) for value in (True, False))
    assert decide(repeated, retry_num=0)[0] == RetryPolicy.RETRY_NEXT_HOST
    assert decide(repeated, retry_num=1)[0] == RetryPolicy.RETHROW
    assert decide(other, retry_num=0)[0] == RetryPolicy.RETHROW


# {% if cookiecutter.wsgi_server == "gunicorn" %}
def test_gevent_is_rejected() -> None:
    settings: Any = SimpleNamespace(WEB_WORKER_CLASS="gevent")
    with pytest.raises(config.SettingsError, match="gthread"):
        cluster_options(ClusterURL.parse(URL), settings)


# {% endif %}
def test_tls_verifies_certificates(make_app: Callable[..., Flask]) -> None:
    context = create_ssl_context(config.get_settings(make_app(DATABASE_TLS="true")))
    assert context
    assert context.check_hostname
    assert create_ssl_context(config.get_settings(make_app(DATABASE_TLS="false"))) is None


def test_ca_file_requires_tls(tmp_path: Path) -> None:
    settings = SimpleNamespace(DATABASE_TLS=False, DATABASE_CA_FILE=str(tmp_path))
    with pytest.raises(ValueError, match="without TLS"):
        create_ssl_context(settings)  # type: ignore[arg-type]
