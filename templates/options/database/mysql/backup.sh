# mariadb-dump writes one line for each row, and those lines are counted: the numbers are of the snapshot of the dump.
dump() {
    tables >"$1/tables"
    mariadb-dump --no-defaults --host="$MYSQL_HOST" --user="${MYSQL_USER:-app}" --single-transaction --no-tablespaces --routines --triggers \
        --skip-extended-insert --no-autocommit "${MYSQL_DATABASE:-app}" >"$1/dump"
    tail -n 1 "$1/dump" | grep -q '^-- Dump completed' || stop "mariadb-dump wrote an incomplete dump"
    awk -F '`' '/^CREATE TABLE `/ {rows[$2] = 0} /^INSERT INTO `/ {rows[$2]++} END {for (table in rows) print table "|" rows[table]}' \
        "$1/dump" | sort >"$1/rows"
    cut -d '|' -f 1 "$1/rows" | cmp -s - "$1/tables" || stop "the dump does not have all tables: a migration may have run"
    rm "$1/tables"
}

query() { mariadb --no-defaults --host="$MYSQL_HOST" --user="${MYSQL_USER:-app}" --skip-column-names --batch "${MYSQL_DATABASE:-app}"; }

tables() {
    echo "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'" | query | sort
}

count_rows() {
    tables | while read -r table; do
        echo "SELECT CONCAT('$table|', COUNT(*)) FROM \`$table\`;"
    done | query
}

# A later migration may have added tables: nothing of it remains.
load() {
    name=${MYSQL_DATABASE:-app}
    {
        echo "DROP DATABASE \`$name\`; CREATE DATABASE \`$name\` CHARACTER SET utf8mb4; USE \`$name\`;"
        cat "$1/dump"
    } | query
}

# A private server without data, which only this script can reach.
start_empty_server() {
    mariadb-install-db --no-defaults --datadir="$1/server" --auth-root-authentication-method=normal --skip-test-db >"$1/log"
    mariadbd --no-defaults --datadir="$1/server" --socket="$1/socket" --pid-file="$1/pid" --skip-networking --skip-log-bin \
        --innodb-buffer-pool-size=64M >>"$1/log" 2>&1 &
    export MYSQL_HOST=localhost MYSQL_USER=root MYSQL_PWD='' MYSQL_UNIX_PORT="$1/socket"
    for _ in $(seq 60); do
        ! mariadb --no-defaults --user=root --execute="CREATE DATABASE ${MYSQL_DATABASE:-app} CHARACTER SET utf8mb4" 2>/dev/null || return 0
        sleep 1
    done
    stop_empty_server "$1"
    stop "the empty server does not start: $(tail -n 3 "$1/log")"
}

stop_empty_server() { kill -9 "$(cat "$1/pid")"; }
