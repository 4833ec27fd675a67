"""PostgreSQL, by psycopg 3."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Engine, create_engine


def make_engine(url: URL, config: Mapping[str, Any]) -> Engine:
    """Pool connections, check them before use, and let no statement run for ever."""
    statement_timeout = round(config["DATABASE_STATEMENT_TIMEOUT"] * 1000)
    return create_engine(
        url,
        pool_size=config["DATABASE_POOL_SIZE"],
        max_overflow=config["DATABASE_POOL_OVERFLOW"],
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": config["DATABASE_CONNECT_TIMEOUT"],
            "options": f"-c statement_timeout={statement_timeout}",
        },
    )
