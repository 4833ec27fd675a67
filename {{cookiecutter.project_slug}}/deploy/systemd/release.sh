#!/bin/sh
# Releases on this server. `make deploy` and `make rollback` run it as {{ cookiecutter.__system_user }}-deploy:
#   release.sh deploy RELEASE   build uploads/RELEASE and switch to it; return to the old release if it does not work
#   release.sh rollback         switch to the release before the current one
set -eu
root=/srv/{{ cookiecutter.project_slug }}
units={{ cookiecutter.project_slug }}
keep=5 # releases in production, with the current one

case ${1:-} in
    deploy) release=${2:?} ;;
    rollback) release='' ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
esac

# A deployment continues if the connection of its user ends early.
trap '' HUP INT PIPE TERM

say() {
    echo "$1" >&2 || true
}

fail() {
    say "$1"
    exit 1
}

cd "$root"
exec 9> .lock
if ! flock --nonblock 9; then
    [ -z "$release" ] || rm -rf "uploads/$release"
    fail "another deployment is running; nothing has changed"
fi
touch history

# Replace a link by one step, so that it exists at any time: `ln -sfn` would delete it first.
link() {
    ln -sfn "releases/$2" "$1.new" && mv -T "$1.new" "$1"
}

name() {
    if [ -L "$1" ]; then basename "$(readlink "$1")"; fi
}

# Delete the files of interrupted deployments, and old releases. `history` has the releases that were in production, the newest last.
clean() {
    for folder in releases/*; do
        tail -n "$keep" history | grep -qxF "${folder#releases/}" || [ "${folder#releases/}" = "$(name current)" ] || rm -rf "$folder"
    done
    find uploads -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} +
}

# `&&`: the shell ignores `set -e` in a condition.
build() (
    mv "uploads/$release" releases/ &&
        cd "releases/$release" &&
        export UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never &&
        { [ -x "$root/.uv/bin/python" ] || python3 -m venv "$root/.uv"; } &&
        # pyproject.toml pins the version of uv.
        "$root/.uv/bin/pip" install --quiet --disable-pip-version-check "$(sed -n 's/.*"\(uv==[^"]*\)".*/\1/p' pyproject.toml)" &&
        # Fails if uv.lock does not match pyproject.toml.
        "$root/.uv/bin/uv" sync --quiet --locked --no-default-groups --no-install-project --group build &&
        FLASK_DEBUG=1 sh deploy/systemd/run.sh flask --app {{ cookiecutter.package_name }}.wsgi assets build &&
        # Their names with a content hash, for add_static_files.
        (cd public && find . -regextype posix-extended -regex '.*\.[0-9a-f]{12}\.[^/]*') > static-files &&
        "$root/.uv/bin/uv" sync --quiet --locked --no-default-groups --no-install-project &&
        .venv/bin/python -m compileall -q src &&
        chmod -R a+rX,g-w,o-w .
)

# Link the static files of the other kept releases into a release, for pages that clients have open.
add_static_files() {
    for other in $(tail -n "$keep" history); do
        if [ "$other" != "$1" ] && [ -s "releases/$other/static-files" ]; then
            (cd "releases/$other/public" && xargs -d '\n' cp --link --force --parents -t "$root/releases/$1/public" < ../static-files) ||
                say "$1 lacks static files of $other"
        fi
    done
}

# Restart a unit. If it fails, print the end of its log.
restart_unit() {
    sudo -n systemctl restart "$units-$1.service" && return
    sudo -n journalctl -n 20 -o cat --no-pager -u "$units-$1.service" >&2 || true
    return 1
}

# Wait until the service and the services that it needs are available.
is_ready() {
    bind=$(sed -n 's/^Environment=BIND=//p' "current/deploy/systemd/$units-web.service")
    for _ in 1 2 3 4 5; do
        ! BIND=$bind python3 -IS current/deploy/health_{{ cookiecutter.__upstream_protocol }}.py /health/ready 2> /dev/null || return 0
        sleep 1
    done
    say "/health/ready does not respond with 200"
    return 1
}

# Restart the processes with `current`. While the application server restarts, connections wait in the socket of systemd.
restart() {
    restart_unit web && is_ready || return 1
    # {% if cookiecutter.__tasks %}
    # Running jobs finish first, for at most 330 s. All units must be active without a restart.
    sudo -n systemctl restart "$units-jobs.target" || return 1
    if systemctl show --property=ActiveState,NRestarts --value "$units-worker@*" "$units-scheduler.service" | grep -Eqv '^(active|0|)$'; then
        say "a worker or the scheduler does not start"
        return 1
    fi
    # {% endif %}
}

# Switch to a release, or back to the old one. `history.new` becomes the history: without disk space nothing is switched.
switch() {
    old=$(name current)
    add_static_files "$1"
    link current "$1" || fail "the link to $1 cannot be written; nothing has changed"
    if restart; then
        mv history.new history
        link next "$1"
        say "$1 is in production"
        return
    fi
    say "$1 does not work: see journalctl -u '$units-*'"
    if [ -n "$old" ]; then
        link current "$old"
        link next "$old"
        ! restart || say "$old is in production again"
    fi
    [ -z "$release" ] || [ -z "$old" ] || rm -rf "releases/$release"
    exit 1
}

# Fail before the switch: the old release runs on.
abort() {
    rm -rf "uploads/$release" "releases/$release" next
    [ -z "$(name current)" ] || link next "$(name current)"
    fail "$release: $1"
}

if [ -n "$release" ]; then
    clean
    # To a file: programs fail that write to a connection which has ended.
    build > build.log 2>&1 || {
        cat build.log >&2 || true
        abort "it cannot be built; nothing has changed"
    }
    { cat history && echo "$release"; } > history.new || abort "the history cannot be written; nothing has changed"
    link next "$release" || abort "the link to it cannot be written; nothing has changed"
    # {% if cookiecutter.__database %}
    # Each migration has its own transaction.
    restart_unit migrate || abort "a migration failed; those before it remain, nothing else has changed"
    restart_unit check || abort "the application server does not work with it; its migrations remain, nothing else has changed"
    # {% else %}
    restart_unit check || abort "the application server does not work with it; nothing has changed"
    # {% endif %}
    switch "$release"
    for unit in "current/deploy/systemd/$units"-*; do
        cmp -s "$unit" "/etc/systemd/system/${unit##*/}" || say "${unit##*/} differs from the installed one: make server"
    done
    clean
else
    current=$(name current)
    # Also right if a deployment was killed after its switch, before it wrote the history.
    sed "/^$current\$/,\$d" history > history.new
    previous=$(tail -n 1 history.new)
    [ -d "releases/${previous:-none}" ] || fail "there is no release before ${current:-the first one}"
    switch "$previous"
fi
