#!/bin/sh
# Backups of the database, encrypted with backup.crt, so that the server cannot read them: see docs/runbook.md.
#
#   backup.sh schedule         back up each day at BACKUP_TIME (UTC); compose.production.yaml runs this
#   backup.sh run              back up; after a week also restore the dump into an empty server and count its rows
#   backup.sh list             list the backups
#   backup.sh export [DAY]     write a backup as a tar file: the newest one, or that of a day
#   backup.sh verify DAY KEY   restore a backup into an empty server and count its rows; KEY is the private key
#   backup.sh restore DAY KEY  restore a backup into the database
#   backup.sh check            fail if the last backup is older than 2 days, or the last restore older than 10 days
set -eu
umask 027
here=$(dirname "$0")
export CERTIFICATE="${BACKUP_CERTIFICATE:-$here/backup.crt}"
scratch=$BACKUPS/scratch

stop() {
    echo "{\"event\": \"backup failed\", \"error\": \"$1\"}" >&2
    exit 1
}

# {% include "options/database/" ~ cookiecutter.database ~ "/backup.sh" ignore missing %}
run() {
    started=$(date +%s) day=$(date -u +%F)
    [ -r "$CERTIFICATE" ] || stop "there is no $CERTIFICATE: create it with make backup-key"
    start_scratch
    dump "$scratch"
    [ "$(age restore)" -lt $((7 * DAY)) ] || test_restore
    # Parts, because OpenSSL decrypts a message in memory.
    mkdir "$scratch/parts"
    { tar -C "$scratch" -cf - dump rows && touch "$scratch/complete"; } | split --bytes=256M --filter="$ENCRYPT" - "$scratch/parts/"
    [ -e "$scratch/complete" ] || stop "the dump could not be read"
    rm -rf "${BACKUPS:?}/$day"
    mv "$scratch/parts" "$BACKUPS/$day"
    record backup
    bytes=$(du -sb "$BACKUPS/$day" | cut -f 1)
    echo "{\"event\": \"backup succeeded\", \"day\": \"$day\", \"bytes\": $bytes, \"seconds\": $(($(date +%s) - started))}"
    delete_old
}

# One command at a time uses the folder: the service may back up meanwhile.
start_scratch() {
    exec 9>"$BACKUPS/lock"
    flock --timeout 600 9 || stop "another backup is running"
    trap 'rm -rf "$scratch"' EXIT
    rm -rf "$scratch"
    mkdir "$scratch"
}

# shellcheck disable=SC2016 # split sets FILE
ENCRYPT='openssl cms -encrypt -binary -stream -aes-256-gcm -outform DER -out "$FILE.cms" "$CERTIFICATE"'

decrypt() {
    [ -d "$BACKUPS/$1" ] || stop "there is no backup of $1: see backup.sh list"
    start_scratch
    for part in "$BACKUPS/$1"/*.cms; do
        openssl cms -decrypt -binary -inform DER -inkey "$2" -in "$part" 2>"$scratch/error" || touch "$scratch/failed"
    done | tar -C "$scratch" -xf - 2>/dev/null || touch "$scratch/failed"
    [ ! -e "$scratch/failed" ] || stop "$2 cannot decrypt the backup of $1: it is not the private key of backup.crt, or the backup is damaged"
}

# Restore the dump into an empty server, and compare the numbers of rows with those of the dump.
test_restore() {
    error=
    start_empty_server "$scratch"
    load "$scratch" >"$scratch/load.log" 2>&1 || error="the dump cannot be restored: $(tail -n 1 "$scratch/load.log" | tr -d '"')"
    [ -n "$error" ] || count_rows >"$scratch/restored"
    stop_empty_server "$scratch"
    [ -z "$error" ] || stop "$error"
    compare_rows
    record restore
}

compare_rows() {
    cmp -s "$scratch/rows" "$scratch/restored" || stop "the restored tables have other rows than the dump"
    echo "{\"event\": \"restore succeeded\", \"tables\": $(wc -l <"$scratch/rows"), \"rows\": $(awk -F '|' '{rows += $2} END {print rows + 0}' "$scratch/rows")}"
}

# The newest backup of each of the last 7 days, 4 weeks and 6 months that have one.
delete_old() {
    { newest_of_each %F 7 && newest_of_each %G-%V 4 && newest_of_each %Y-%m 6; } >"$scratch/kept"
    days | grep -vxFf "$scratch/kept" | while read -r old; do
        rm -r "${BACKUPS:?}/$old"
    done
}

newest_of_each() {
    days | while read -r each; do
        echo "$(date --utc --date="$each" "+$1") $each"
    done | awk -v limit="$2" '!seen[$1]++ && ++count <= limit {print $2}'
}

days() { (cd "$BACKUPS" && ls -d [0-9]*-[0-9]*-[0-9]* 2>/dev/null) | sort -r; }

DAY=86400

age() { echo $(($(date +%s) - $(cat "$BACKUPS/$1.last" 2>/dev/null || echo 0))); }

# Store the time of a success, as a metric too.
record() {
    date +%s >"$BACKUPS/$1.last"
    for name in backup restore; do
        [ ! -e "$BACKUPS/$name.last" ] || echo "${name}_last_success_timestamp_seconds $(cat "$BACKUPS/$name.last")"
    done >"$BACKUPS/backup.prom.new"
    chmod a+r "$BACKUPS/backup.prom.new"
    mv "$BACKUPS/backup.prom.new" "$BACKUPS/backup.prom"
}

schedule() {
    while :; do
        if [ ! -d "$BACKUPS/$(date -u +%F)" ] && [ "$(date -u +%H%M)" -ge "$(echo "$BACKUP_TIME" | tr -d :)" ]; then
            sh "$0" run || sleep 1800
        fi
        sleep 60
    done
}

check() {
    [ "$(age backup)" -lt $((2 * DAY)) ] || stop "the last backup is older than 2 days"
    [ "$(age restore)" -lt $((10 * DAY)) ] || stop "the last restore of a backup is older than 10 days"
}

case ${1:-} in
run | schedule | check) "$1" ;;
list) days ;;
export) tar -C "$BACKUPS" -cf - "${2:-$(days | head -n 1)}" ;;
verify)
    decrypt "$2" "$3"
    test_restore
    ;;
restore)
    decrypt "$2" "$3"
    load "$scratch"
    count_rows >"$scratch/restored"
    compare_rows
    ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
