# SQLite copies the database while it is used. The numbers of rows are counted in the copy.
dump() {
    copy "$DATABASE" "$1/dump"
    count_rows_of "$1/dump" >"$1/rows"
}

copy() {
    python3 - "$1" "$2" <<'end'
import sqlite3, sys
source, target = (sqlite3.connect(path, timeout=30) for path in sys.argv[1:])
source.backup(target)
target.close()
end
}

count_rows() { count_rows_of "$DATABASE"; }

count_rows_of() {
    python3 - "$1" <<'end'
import sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)
(result,) = database.execute("PRAGMA integrity_check").fetchone()
if result != "ok":
    sys.exit(f"integrity_check: {result}")
tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
for table in tables:
    (rows,) = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    print(f"{table}|{rows}")
end
}

load() { copy "$1/dump" "$DATABASE"; }

# An empty file takes the place of a server.
start_empty_server() { DATABASE="$1/database.sqlite3"; }

stop_empty_server() { :; }
