"""`flask db stats` on real servers that count statements, that do not, and that do not permit to read."""

# ruff: noqa: F811 - fixtures are imported and named as arguments

from collections.abc import Iterator

import pytest

from tests.deployed_project import DeployedProject
from tests.matrix import Combination, parametrize_combinations
from tests.services import DatabaseServer, MariaDB, PostgreSQL
from tests.test_stacks import SERVERS, STORED, combination_with, database, deployed, servers  # noqa: F401

# The options with which Compose starts the servers.
OPTIONS = {"postgresql": ("-cshared_preload_libraries=pg_stat_statements",), "mysql": ("--performance-schema=ON",)}
UNKNOWN = "unknown: "
# A table with an index that nothing uses, and with nine free pages of ten.
BLOATED = {
    "postgresql": """
        CREATE TABLE bloated AS SELECT id, repeat('x', 200) AS content FROM generate_series(1, 50000) AS numbers(id);
        CREATE INDEX useless ON bloated (content);
        DELETE FROM bloated WHERE id % 10 > 0;
        VACUUM ANALYZE bloated;
    """,
    "mysql": """
        CREATE TABLE bloated (id INT PRIMARY KEY, content CHAR(200), KEY useless (content));
        INSERT INTO bloated SELECT seq, 'x' FROM seq_1_to_50000;
    """,
}


def sections(output: str) -> dict[str, list[str]]:
    """Return the lines of each report by the first word of its title."""
    parts = (part.splitlines() for part in output.strip().split("\n\n"))
    return {title.split()[0].rstrip(":"): lines for title, *lines in parts}


@pytest.fixture
def counting(combination: Combination, deployed: DeployedProject) -> Iterator[DatabaseServer]:
    """Run a server with the options of Compose, and let the project use a database of it."""
    kind = combination.options["database"]
    with SERVERS[kind].running(*OPTIONS[str(kind)]) as server:
        deployed.variables["DATABASE_URL"] = server.create_database().url
        yield server


@parametrize_combinations([combination_with("postgresql")])
def test_postgresql_prints_statements_indexes_and_bloat(deployed: DeployedProject, counting: PostgreSQL) -> None:
    """The reports name the slow statement, the unused index, and the part of a table that is free."""
    counting.query("test_1", "CREATE EXTENSION pg_stat_statements;")
    counting.query("test_1", BLOATED["postgresql"])
    found = sections(deployed.run_flask("db", "stats"))
    assert any("CREATE TABLE bloated AS SELECT" in line for line in found["Slowest"])
    assert [line.split()[-2:] for line in found["Unused"][1:]] == [["useless", "bloated"]]
    names, row = (line.split("  ") for line in found["Tables"])
    assert row[-1] == "bloated"
    assert any(88 <= float(cell) <= 92 for cell in row if cell.strip().isdigit()), (names, row)


@parametrize_combinations([combination_with("postgresql")])
def test_postgresql_without_extension_is_reported(deployed: DeployedProject, counting: PostgreSQL) -> None:
    """The hint says whether the server, the database or the user lacks something; the other reports appear."""

    def statements(**variables: str) -> str:
        found = sections(deployed.run_flask("db", "stats", **variables))
        assert found["Tables"] == ["  none"]
        (line,) = found["Slowest"]
        return line.strip()

    hint = "see pg_stat_statements in docs/database.md"
    assert statements() == f"unknown: this database lacks the extension pg_stat_statements: {hint}"
    counting.query(
        "test_1",
        "CREATE EXTENSION pg_stat_statements;"
        "REVOKE SELECT ON pg_stat_statements FROM PUBLIC; CREATE USER guest PASSWORD 'guest';",
    )
    guest = counting.database_url("test_1").replace(f"{counting.owner}:{counting.password}", "guest:guest")
    assert statements(DATABASE_URL=guest) == f"unknown: this user may not read pg_stat_statements: {hint}"
    counting.options = ()
    with counting.unavailable():
        pass
    assert statements() == f"unknown: the server does not load pg_stat_statements: {hint}"


@parametrize_combinations([combination_with("mysql")])
def test_mariadb_prints_statements_indexes_and_sizes(deployed: DeployedProject, counting: MariaDB) -> None:
    """The reports name the slow statement, the unused index, and the table; a guest gets a hint instead."""
    counting.query("test_1", BLOATED["mysql"])
    found = sections(deployed.run_flask("db", "stats"))
    assert any("INSERT INTO `bloated`" in line for line in found["Slowest"])
    assert [line.split() for line in found["Unused"][1:]] == [["useless", "bloated"]]
    assert found["Tables"][1].split()[-1] == "bloated"

    with (counting.folder / "grant.sql").open("a") as file:
        file.write("GRANT SELECT ON test_1.* TO guest@'127.0.0.1' IDENTIFIED BY 'guest';\n")
    with counting.unavailable():
        pass
    guest = counting.database_url("test_1").replace(f"{counting.owner}:{counting.password}", "guest:guest")
    found = sections(deployed.run_flask("db", "stats", DATABASE_URL=guest))
    hint = "  unknown: this user may not read performance_schema: see performance_schema in docs/database.md"
    assert found["Slowest"] == found["Unused"] == [hint]
    assert found["Tables"][1].split()[-1] == "bloated"


@parametrize_combinations(STORED)
def test_server_without_counters_is_reported(deployed: DeployedProject) -> None:
    """With the defaults of a server, the report of statements says that it is unknown."""
    deployed.migrate()
    found = sections(deployed.run_flask("db", "stats"))
    (line,) = found["Slowest"]
    assert line.strip().startswith(UNKNOWN)
    assert any("product" in line for line in found["Tables"])
