"""Reports about an SQLite file, which has no counters of statements and of uses of indexes."""

from .report import Report

FILE = """
SELECT page_count * page_size AS file_size,
       freelist_count * page_size AS free_size,
       100 * freelist_count / max(page_count, 1) AS "free_%"
FROM pragma_page_count, pragma_page_size, pragma_freelist_count
LIMIT :limit
"""

# Bloat is free space inside of pages. It says little about less than 1 MB.
OBJECTS = """
SELECT sum(pgsize) AS size,
       CASE WHEN sum(pgsize) >= 1048576 THEN 100 * sum(unused) / sum(pgsize) END AS "bloat_%",
       type,
       stored.name
FROM dbstat JOIN sqlite_schema stored ON stored.name = dbstat.name
GROUP BY stored.name
ORDER BY size DESC, stored.name
LIMIT :limit
"""

UNKNOWN = "unknown: SQLite does not count them"

REPORTS = (
    Report("File: VACUUM returns free space to the disk", FILE),
    Report(
        "Slowest statements",
        "",
        condition="SELECT 0",
        condition_hint=f"{UNKNOWN}; the log has those that take longer than SLOW_QUERY_MS",
    ),
    Report("Unused indexes", "", condition="SELECT 0", condition_hint=UNKNOWN),
    Report(
        "Tables and indexes",
        OBJECTS,
        hints={"no such table: dbstat": "unknown: this SQLite was built without dbstat"},
    ),
)
