#!/bin/sh
# Releases on this server. `make deploy` and `make rollback` run it as {{ cookiecutter.__system_user }}-deploy:
#   release.sh deploy RELEASE   build releases/RELEASE and switch to it; return to the old release if it does not work
#   release.sh rollback         switch to the release before the current one
set -eu
root=/srv/{{ cookiecutter.project_slug }}
units={{ cookiecutter.project_slug }}
keep=5 # releases in production, with the current one

cd "$root"
exec 9> .lock
flock --nonblock 9 || { echo "another deployment is running" >&2; exit 1; }

# Replace a link by one step, so that it exists at any time: `ln -sfn` would delete it first.
link() {
    ln -sfn "releases/$2" "$1.new"
    mv -T "$1.new" "$1"
}

name() {
    if [ -L "$1" ]; then basename "$(readlink "$1")"; fi
}

# `&&`: the shell ignores `set -e` in a condition.
build() (
    cd "releases/$1" &&
        export UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never &&
        { [ -x "$root/.uv/bin/python" ] || python3 -m venv "$root/.uv"; } &&
        # pyproject.toml pins the version of uv.
        "$root/.uv/bin/pip" install --quiet --disable-pip-version-check "$(sed -n 's/.*"\(uv==[^"]*\)".*/\1/p' pyproject.toml)" &&
        # Fails if uv.lock does not match pyproject.toml.
        "$root/.uv/bin/uv" sync --quiet --locked --no-default-groups --no-install-project --group build &&
        FLASK_DEBUG=1 sh deploy/systemd/run.sh flask --app {{ cookiecutter.package_name }}.wsgi assets build &&
        "$root/.uv/bin/uv" sync --quiet --locked --no-default-groups --no-install-project &&
        .venv/bin/python -m compileall -q src &&
        chmod -R a+rX,g-w,o-w .
)

# Restart the processes with `current`. While the application server restarts, connections wait in the socket of systemd.
restart() {
    sudo systemctl restart "$units-web.service" || return 1
    bind=$(sed -n 's/^Environment=BIND=//p' "current/deploy/systemd/$units-web.service")
    if ! BIND=$bind python3 -IS current/deploy/health_{{ cookiecutter.__upstream_protocol }}.py /health/ready; then
        echo "/health/ready does not respond with 200" >&2
        return 1
    fi
    # {% if cookiecutter.__tasks %}
    # Running jobs finish first, for at most 330 s. All units must be active without a restart.
    sudo systemctl restart "$units-jobs.target" || return 1
    if systemctl show --property=ActiveState,NRestarts --value "$units-worker@*" "$units-scheduler.service" | grep -Eqv '^(active|0|)$'; then
        echo "a worker or the scheduler does not start" >&2
        return 1
    fi
    # {% endif %}
}

# Switch to a release, or back to the old one.
switch() {
    old=$(name current)
    link current "$1"
    if restart; then
        link next "$1"
        echo "$1 is in production"
        return
    fi
    echo "$1 does not work: see journalctl -u '$units-*'" >&2
    if [ -n "$old" ]; then
        link current "$old"
        link next "$old"
        restart && echo "$old is in production again" >&2
    fi
    exit 1
}

case ${1:-} in
    deploy)
        release=${2:?}
        if ! build "$release"; then
            rm -rf "releases/$release"
            echo "$release cannot be built; nothing has changed" >&2
            exit 1
        fi
        # {% if cookiecutter.__database %}
        link next "$release"
        if ! sudo systemctl restart "$units-migrate.service"; then
            [ -z "$(name current)" ] || link next "$(name current)"
            echo "$release: a migration failed: see journalctl -u $units-migrate; the old release is still in production" >&2
            exit 1
        fi
        # {% endif %}
        switch "$release"
        for unit in "current/deploy/systemd/$units"-*; do
            cmp -s "$unit" "/etc/systemd/system/${unit##*/}" || echo "${unit##*/} differs from the installed one: make server" >&2
        done
        # Keep the releases to which `rollback` can return.
        echo "$release" >> history
        for folder in releases/*; do
            tail -n "$keep" history | grep -qxF "${folder#releases/}" || rm -rf "$folder"
        done
        ;;
    rollback)
        # The last line of `history` is the current release.
        previous=$(sed '$d' history | tail -n 1)
        [ -d "releases/${previous:-none}" ] || { echo "there is no release before $(name current)" >&2; exit 1; }
        switch "$previous"
        sed -i '$d' history
        ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
esac
