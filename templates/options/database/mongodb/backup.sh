# mongodump prints the number of documents of each collection that it has read. Changes during the dump may be in it or not.
dump() {
    mongodump --uri="$DATABASE_URL" --archive="$1/dump" 2>"$1/log" || stop "mongodump failed: $(tail -n 1 "$1/log" | tr -d '"')"
    sed -n 's/.*done dumping `\{0,1\}[^.`]*\.\([^` ]*\)`\{0,1\} (\([0-9]*\) documents\{0,1\}).*/\1|\2/p' "$1/log" | sort >"$1/rows"
    rm "$1/log"
}

count_rows() {
    mongosh --quiet "$DATABASE_URL" --eval 'db.getCollectionNames().sort().forEach(name => print(`${name}|${db[name].countDocuments()}`))' | sort
}

# A later migration may have added collections: nothing of them remains.
load() {
    mongosh --quiet "$DATABASE_URL" --eval 'db.getCollectionNames().forEach(name => db[name].drop())'
    mongorestore --uri="$DATABASE_URL" --drop --archive="$1/dump" --nsInclude="${DATABASE_NAME:-app}.*"
}

# A private server without data, which only this script can reach.
start_empty_server() {
    mkdir "$1/server"
    mongod --dbpath="$1/server" --bind_ip="$1/mongodb-27018.sock" --port=27018 --fork --logpath="$1/log" --pidfilepath="$1/pid" \
        --wiredTigerCacheSizeGB=0.25 >/dev/null
    DATABASE_URL="mongodb://$(echo "$1/mongodb-27018.sock" | sed 's|/|%2F|g')/${DATABASE_NAME:-app}"
}

stop_empty_server() { kill -9 "$(cat "$1/pid")"; }
