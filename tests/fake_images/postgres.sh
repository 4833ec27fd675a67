#!/bin/sh
# Make the data of a new volume, and serve it; run any other command, as the official image does.
set -e
[ "$1" = postgres ] || exec "$@"
export PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --auth-host=scram-sha-256 --auth-local=trust --username="$POSTGRES_USER" --pwfile=/tmp/password > /dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --options="-h '' -k /run/postgresql" --wait start > /dev/null
    createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql --quiet --set=ON_ERROR_STOP=1 --host=/run/postgresql --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$file"
    done
    pg_ctl --mode=fast --wait stop > /dev/null
fi
exec "$@" -k /run/postgresql -h '*'
