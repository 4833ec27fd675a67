#!/bin/sh
# Make the data of a new volume, and serve it.
set -e
export PGDATA=/var/lib/postgresql/data
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --auth-host=scram-sha-256 --auth-local=trust --username="$POSTGRES_USER" --pwfile=/tmp/password > /dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --options="-h '' -k /run/postgresql" --wait start > /dev/null
    createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --mode=fast --wait stop > /dev/null
fi
exec postgres -k /run/postgresql -h '*'
