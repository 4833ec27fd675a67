#!/bin/sh
# Operate releases on this server. scripts/deploy.sh copies this file into a folder of releases/ and runs it: see docs/deployment.md.
#
#   release.sh deploy TAG     start this release beside the running one, switch to it, stop the former one
#   release.sh rollback       do the same with the former release; the data stay as they are
#   release.sh certificate    request a TLS certificate, and serve HTTPS
#   release.sh compose …      docker compose with the files and images of the running release
set -eu
# This file is releases/ID/deploy/server/release.sh.
cd "$(dirname "$(readlink -f "$0")")/../.."
release=$(basename "$PWD")
cd ../..
project={{ cookiecutter.project_slug }}
[ -e history ] || : >history
# The last line is the running release, the line above it the former one.
old=$(tail -n 1 history)
# A pattern of services: servers that releases do not replace.
servers='cache'
# {% if cookiecutter.__database %}
servers="$servers|database"
# {% endif %}
# {% if cookiecutter.__tasks %}
servers="$servers|broker"
# {% endif %}

say() { echo "== $*"; }

stop() {
    echo "$*" >&2
    exit 1
}

compose() {
    docker compose --progress quiet --project-directory "$PWD/current" --env-file .env --env-file "releases/$release/release.env" \
        --file "releases/$release/compose.yaml" --file "releases/$release/compose.production.yaml" "$@"
}

# The services of active profiles whose names match.
services() { compose config --services | grep -xE "$1" || true; }

# A variable of .env, or its default.
setting() { sed -n "s/^$1=//p" .env | tail -n 1 | tr -d "\"'" | grep . || echo "$2"; }

# Replaces the file only when it is complete. It contains secrets.
change_setting() (
    umask 077
    grep -v "^$1=" .env >.env.new || [ $? = 1 ]
    echo "$1=$2" >>.env.new
    mv .env.new .env
)

# The containers of a service.
containers() {
    docker ps --all --quiet --no-trunc --filter label=com.docker.compose.oneoff=False \
        --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

# Those of a release, those of all other releases.
containers_of() { containers "$1" | each release_is "$2"; }

containers_not_of() { containers "$1" | each release_is_not "$2"; }

release_is() { [ "$(docker container inspect --format '{{ "{{.Config.Labels.release}}" }}' "$2")" != "$1" ] || echo "$2"; }

release_is_not() { [ "$(docker container inspect --format '{{ "{{.Config.Labels.release}}" }}' "$2")" = "$1" ] || echo "$2"; }

# Run a command with each line as its last argument.
each() {
    while read -r line; do
        "$@" "$line" </dev/null
    done
}

# Containers first finish their work, for at most stop_grace_period.
remove() {
    docker stop "$1" >/dev/null
    docker rm --volumes "$1" >/dev/null
}

# Run a container to its end. `docker compose run` does not return its status with every engine.
run_once() {
    compose up --detach --no-deps --no-build --force-recreate "$1"
    container=$(containers "$1")
    code=$(docker wait "$container")
    docker logs "$container"
    [ "$code" = 0 ] || stop "$1 failed: its output is above"
}

deploy() {
    say "deploy $1 as $release"
    [ -e current ] || ln -s "releases/$release" current
    env="releases/$release/release.env"
    web=$(digest web "$1")
    printf 'RELEASE=%s\nIMAGE_TAG=%s\nWEB_DIGEST=%s\n' "$release" "$1" "$web" >"$env"
    # {% if cookiecutter.__proxied %}
    proxy=$(proxy_digest "$1")
    echo "PROXY_DIGEST=$proxy" >>"$env"
    # {% endif %}
    cp history history.new
    echo "$release" >>history.new
    prepare
    # {% if cookiecutter.__database %}
    say "migrate the database"
    run_once migrate
    # {% endif %}
    replace
}

rollback() {
    release=$(tail -n 2 history | head -n 1)
    [ "$release" != "$old" ] || stop "there is no former release on this server"
    say "roll back from $old to $release"
    sed '$d' history >history.new
    prepare
    replace
}

# The digest of the image that CI published with a tag.
digest() {
    repository=$(setting IMAGE_REPOSITORY '')
    [ -n "$repository" ] || stop "set IMAGE_REPOSITORY in $PWD/.env on the server"
    image=$repository/$1:$2
    docker pull --quiet "$image" >/dev/null || stop "cannot pull $image: has CI published it? docker login?"
    # Docker leaves out the name of its own registry.
    digest=$(docker image inspect --format '{{ "{{range .RepoDigests}}{{println .}}{{end}}" }}' "$image" |
        sed -n "s|^.*${repository#docker.io/}/$1@||p" | head -n 1)
    [ -n "$digest" ] || stop "$image has no digest of the repository: is IMAGE_REPOSITORY spelled as in docker image inspect $image?"
    echo "$digest"
}

# {% if cookiecutter.__proxied %}
# A release has a new image of the proxy only if its configuration has changed: its start interrupts connections.
proxy_digest() {
    if [ -z "${UPDATE_PROXY:-}" ] && diff -qr "current/deploy/{{ cookiecutter.reverse_proxy }}" "releases/$release/deploy/{{ cookiecutter.reverse_proxy }}" >&2 &&
        grep -s ^PROXY_DIGEST= current/release.env >.digest; then
        cut -d = -f 2 .digest
    else
        digest proxy "$1"
    fi
}

running() { docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"; }

# Send new requests to the containers of a release.
switch_to() {
    [ -z "$(running proxy)" ] ||
        compose exec --no-TTY proxy sh {{ cookiecutter.__proxy_folder }}/upstream.sh "web-$1"
}

# {% endif %}
# Start missing servers, and remove the containers of an interrupted deployment.
prepare() {
    trap undo EXIT
    applications=$(services 'web|worker')
    missing=$(services "$servers")
    # shellcheck disable=SC2086 # names of services
    [ -z "$missing" ] || compose up --detach --wait --wait-timeout 180 --no-recreate $missing
    # {% if cookiecutter.__proxied %}
    # An interrupted deployment may have switched to its own release. A release that does not run cannot prevent its replacement.
    [ -z "$old" ] || [ -z "$(running web | each release_is "$old")" ] || switch_to "$old" || true
    # {% endif %}
    [ -z "$old" ] || containers_not_of web "$old" | each remove
}

# If anything fails before the switch, continue with the former release.
undo() {
    status=$?
    trap - EXIT
    [ "$status" != 0 ] || return 0
    [ -z "${switched:-}" ] || stop "$release is running, but the deployment is not complete: deploy again, or make rollback"
    new=$release release=$old
    [ -z "$old" ] || ln -sfn "releases/$old" current
    # {% if cookiecutter.__proxied %}
    # The proxy may have restarted with the configuration of the new release, and may send requests to it.
    if [ -n "$old" ] && [ -n "${switching:-}" ]; then
        compose up --detach --no-deps --no-build --wait --wait-timeout 60 proxy || true
        switch_to "$old" || true
    fi
    # {% endif %}
    for service in ${applications:-}; do
        containers_of "$service" "$new" | each docker rm --force --volumes >/dev/null || true
    done
    # shellcheck disable=SC2086 # names of services
    [ -z "$old" ] || compose up --detach --no-deps --no-build --no-recreate ${applications:-web} || true
    stop "$new was not started.${old:+ $old is still running.}"
}

# Start the containers of the release beside the running ones, switch, then stop the former ones.
replace() {
    # {% if cookiecutter.reverse_proxy == "none" %}
    # A range of ports lets containers of two releases run. On a single port, requests fail until the new container is ready.
    case $(setting PUBLISHED_PORT 8080) in *-*) ;; *) containers web | each remove ;; esac
    # {% endif %}
    # shellcheck disable=SC2086 # names of services
    set -- $applications
    say "start the containers of" "$@"
    for service in $applications; do
        variable=$(echo "$service" | tr '[:lower:]' '[:upper:]')_REPLICAS
        set -- --scale "$service=$(($(containers "$service" | wc -l) + $(setting "$variable" 1)))" "$@"
    done
    compose up --detach --no-deps --no-build --no-recreate "$@"
    for service in $applications; do
        containers_of "$service" "$release" | each wait_healthy
    done
    # {% if cookiecutter.__tasks %}
    # A former worker would reject jobs that only the new code can send.
    containers_not_of worker "$release" | each docker stop >/dev/null
    # {% endif %}
    say "switch to $release"
    # {% if cookiecutter.__proxied %}
    run_once static
    switching=yes
    ln -sfn "releases/$release" current
    compose up --detach --no-deps --no-build --wait --wait-timeout 60 proxy
    switch_to "$release"
    # {% else %}
    ln -sfn "releases/$release" current
    # The load balancer checks the health of the new containers meanwhile.
    sleep 10
    # {% endif %}
    mv history.new history
    switched=yes
    say "stop the former containers"
    for service in $applications; do
        containers_not_of "$service" "$release" | each remove
    done
    # shellcheck disable=SC2046 # names of services
    set -- $(services '.*' | grep -vxE "web|worker|proxy|$servers")
    [ $# = 0 ] || compose up --detach --no-deps --no-build "$@"
    delete_old_releases
    say "$release is running"
}

wait_healthy() {
    for _ in $(seq 180); do
        state=$(docker container inspect --format '{{ "{{.State.Status}} {{.State.Health.Status}} {{.RestartCount}}" }}' "$1")
        case $state in
        "running healthy "*) return ;;
        *unhealthy* | exited* | *[3-9]) break ;;
        esac
        sleep 1
    done
    docker logs --tail 30 "$1" 2>&1
    stop "a container of $release does not become healthy: its last lines are above"
}

# Keep the last five releases, for rollbacks, and the logs of 90 days.
delete_old_releases() {
    tail -n 5 history >history.new
    mv history.new history
    find logs -name '*.log' -mtime +90 -delete
    for path in releases/*; do
        if ! grep -qx "$(basename "$path")" history; then
            image=$(setting IMAGE_REPOSITORY '')
            sed -n "s|^WEB_DIGEST=|$image/web@|p;s|^PROXY_DIGEST=|$image/proxy@|p" "$path/release.env" >.images 2>/dev/null || true
            rm -r "$path"
            each delete_image <.images >/dev/null 2>&1 || true
        fi
    done
}

# With all names of the image, unless a release that remains has it too.
delete_image() {
    grep -qsF "${1#*@}" releases/*/release.env ||
        docker image rm --force "$(docker image inspect --format '{{ "{{.Id}}" }}' "$1")" || true
}

# {% if cookiecutter.__proxied %}
certificate() {
    release=$old
    if ! compose up --detach --no-deps --wait --wait-timeout 180 certbot; then
        docker logs --tail 20 "$(containers certbot)" 2>&1
        compose rm --force --stop certbot
        stop "there is no certificate: the reason is above"
    fi
    case ,$(setting COMPOSE_PROFILES ''), in
    *,tls,*) ;;
    *) change_setting COMPOSE_PROFILES "$(setting COMPOSE_PROFILES '' | sed 's/.$/&,/')tls" ;;
    esac
    site=$(setting SITE http)
    change_setting SITE https
    if ! compose up --detach --no-deps --no-build --wait --wait-timeout 60 proxy; then
        docker logs --tail 3 "$(containers proxy)" 2>&1
        change_setting SITE "$site"
        compose up --detach --no-deps --no-build --wait --wait-timeout 60 proxy
        stop "the proxy does not start with the certificate: the reason is above. It serves $site as before."
    fi
    say "HTTPS is on"
}

# {% endif %}
command=$1
shift
if [ "$command" = compose ]; then
    release=${old:-$release}
    compose "$@"
    exit
fi
# A deployment continues if the connection to the server ends, so it writes to a file.
if [ -z "${DEPLOY_LOG:-}" ]; then
    mkdir -p logs
    DEPLOY_LOG=$PWD/logs/$(date -u +%Y%m%d-%H%M%S)-$command.log
    export DEPLOY_LOG
    : >"$DEPLOY_LOG"
    setsid sh "releases/$release/deploy/server/release.sh" "$command" "$@" </dev/null >>"$DEPLOY_LOG" 2>&1 &
    deployment=$! status=0
    tail --quiet --lines=+1 --follow --pid=$deployment "$DEPLOY_LOG" &
    wait $deployment || status=$?
    wait
    exit $status
fi
exec 9>lock
flock --nonblock 9 || stop "another deployment is running on this server: its output is in $PWD/logs"
# A deployment may have ended meanwhile.
old=$(tail -n 1 history)
"$command" "$@"
