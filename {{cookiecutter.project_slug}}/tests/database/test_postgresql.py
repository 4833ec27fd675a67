from msgspec.structs import asdict
from sqlalchemy import QueuePool, make_url

from {{ cookiecutter.package_name }}.config import load_settings
from {{ cookiecutter.package_name }}.database import postgresql


def test_the_settings_reach_the_pool() -> None:
    settings = load_settings({"TESTING": "1", "DATABASE_POOL_SIZE": "7"})
    engine = postgresql.make_engine(make_url("postgresql://localhost/name"), asdict(settings))
    assert engine.driver == "psycopg"
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.size() == 7
