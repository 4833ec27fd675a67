"""Reports about MySQL and MariaDB, from performance_schema, which counts since server start."""

from .report import Report

DOCUMENTED = "see performance_schema in docs/database.md"
DENIED = {"1142": f"unknown: this user may not read performance_schema: {DOCUMENTED}"}
IS_ON = "SELECT @@performance_schema"
OFF = f"unknown: performance_schema is off on this server: {DOCUMENTED}"

# Times are in picoseconds.
STATEMENTS = """
SELECT ROUND(sum_timer_wait / 1e9) AS total_ms,
       ROUND(100 * sum_timer_wait / NULLIF(SUM(sum_timer_wait) OVER (), 0)) AS `%`,
       count_star AS calls,
       ROUND(avg_timer_wait / 1e9, 2) AS mean_ms,
       ROUND(max_timer_wait / 1e9, 2) AS max_ms,
       sum_rows_examined AS rows_examined,
       sum_rows_sent AS rows_sent,
       digest_text AS statement
FROM performance_schema.events_statements_summary_by_digest
WHERE schema_name = DATABASE()
ORDER BY sum_timer_wait DESC
LIMIT :limit
"""

# The server counts a table's indexes when it has opened the table.
INDEXES = """
SELECT index_name AS `index`, object_name AS `table`
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE object_schema = DATABASE() AND index_name IS NOT NULL AND count_star = 0 AND NOT EXISTS (
    SELECT 1 FROM information_schema.table_constraints
    WHERE table_schema = object_schema AND table_name = object_name
      AND constraint_name = index_name AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')
)
ORDER BY 2, 1
LIMIT :limit
"""

TABLES = """
SELECT data_length + index_length + data_free AS total_size,
       data_length AS rows_size,
       index_length AS indexes_size,
       table_rows AS `rows`,
       ROUND(100 * data_free / NULLIF(data_length + index_length + data_free, 0)) AS `bloat_%`,
       table_name AS `table`
FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
ORDER BY 1 DESC, table_name
LIMIT :limit
"""

REPORTS = (
    Report(
        "Slowest statements, by total time",
        STATEMENTS,
        hints=DENIED,
        condition=IS_ON,
        condition_hint=OFF,
    ),
    Report(
        "Unused indexes, without unique ones",
        INDEXES,
        hints=DENIED,
        condition=IS_ON,
        condition_hint=OFF,
    ),
    Report("Tables: rows are estimated, bloat is free space in the file", TABLES),
)
