# The dump and the numbers of rows are of one snapshot.
dump() {
    query <<end
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
\o $1/rows
$COUNT_ROWS
\o
\! pg_dump --format=custom --compress=6 --snapshot="\$SNAPSHOT" --file="$1/dump" && touch "$1/complete"
end
    rm "$1/complete" 2>/dev/null || stop "pg_dump failed"
}

# Queries that count the rows of each table.
COUNT_ROWS="SELECT format('SELECT %L, count(*) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename)
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY schemaname, tablename \\gexec"

query() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1; }

count_rows() { echo "$COUNT_ROWS" | query; }

# Restore in one transaction, which is rolled back if it does not end. A later migration may have added tables: nothing of it remains.
load() {
    {
        echo "BEGIN; $EMPTY_DATABASE"
        pg_restore --no-owner --no-privileges --file=- "$1/dump" && echo "COMMIT;" && touch "$1/complete"
    } | query >/dev/null && rm "$1/complete" 2>/dev/null
}

EMPTY_DATABASE="SET client_min_messages = warning;
SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \\gexec
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;"

# A private server without data, which only this script can reach.
start_empty_server() {
    export PGHOST="$1/socket"
    mkdir "$PGHOST"
    initdb --pgdata="$1/server" --auth=trust --username="$PGUSER" --no-sync >/dev/null
    pg_ctl --pgdata="$1/server" --options="-c fsync=off -c listen_addresses= -k $PGHOST" --wait --silent start >"$1/log"
    createdb "$PGDATABASE"
}

stop_empty_server() { pg_ctl --pgdata="$1/server" --mode=immediate --silent stop; }
