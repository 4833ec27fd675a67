"""Reports about PostgreSQL 13 and newer. A user sees only the statements of the same user.

A member of the role `pg_read_all_stats` sees all.
"""

from .report import Report

EXTENSION = "pg_stat_statements"
DOCUMENTED = f"see {EXTENSION} in docs/database.md"

OVERVIEW = """
SELECT pg_database_size(datname) AS database_size,
       round(100.0 * blks_hit / nullif(blks_hit + blks_read, 0), 1) AS "buffer_hits_%",
       numbackends AS connections,
       current_setting('max_connections')::int AS of_maximum,
       deadlocks,
       temp_bytes AS temporary_files_size,
       coalesce(stats_reset, pg_postmaster_start_time())::timestamp(0)::text AS counted_since
FROM pg_stat_database
WHERE datname = current_database()
LIMIT :limit
"""

STATEMENTS = f"""
SELECT total_exec_time::bigint AS total_ms,
       (100 * total_exec_time / nullif(sum(total_exec_time) OVER (), 0))::int AS "%",
       calls,
       round(mean_exec_time::numeric, 2) AS mean_ms,
       round(max_exec_time::numeric, 2) AS max_ms,
       rows,
       query AS statement
FROM {EXTENSION}
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC
LIMIT :limit
"""  # noqa: S608 - a constant

INDEXES = """
SELECT pg_relation_size(used.indexrelid) AS size, used.indexrelname AS index, used.relname AS table
FROM pg_stat_user_indexes used JOIN pg_index USING (indexrelid)
WHERE idx_scan = 0 AND NOT indisunique
ORDER BY size DESC, index
LIMIT :limit
"""

# Bloat is an estimate of what VACUUM FULL would free, for tables from 1 MB: a row has 28 bytes and
# its columns, a page 8168 bytes for rows (PostgreSQL's manual, "Database Page Layout").
TABLES = """
SELECT pg_total_relation_size(relid) AS total_size,
       pg_relation_size(relid) AS rows_size,
       pg_indexes_size(relid) AS indexes_size,
       n_live_tup AS rows,
       n_dead_tup AS dead_rows,
       CASE WHEN pg_relation_size(relid) >= 1048576 THEN greatest(0, 100 * (
           1 - reltuples * (28 + 8 * ceil(width / 8)) * 8192 / 8168 / pg_relation_size(relid)
       ))::int END AS "bloat_%",
       greatest(last_vacuum, last_autovacuum)::timestamp(0)::text AS last_vacuum,
       used.relname AS table
FROM pg_stat_user_tables used
JOIN pg_class ON pg_class.oid = relid
LEFT JOIN (
    SELECT schemaname, tablename, sum(avg_width * (1 - null_frac)) AS width
    FROM pg_stats GROUP BY schemaname, tablename
) columns ON columns.schemaname = used.schemaname AND tablename = used.relname
ORDER BY total_size DESC, used.relname
LIMIT :limit
"""

REPORTS = (
    Report("Database", OVERVIEW),
    Report(
        "Slowest statements, by total time",
        STATEMENTS,
        hints={
            "42P01": f"unknown: this database lacks the extension {EXTENSION}: {DOCUMENTED}",
            "42501": f"unknown: this user may not read {EXTENSION}: {DOCUMENTED}",
            "55000": f"unknown: the server does not load {EXTENSION}: {DOCUMENTED}",
        },
    ),
    Report("Unused indexes, without unique ones", INDEXES),
    Report("Tables", TABLES),
)
