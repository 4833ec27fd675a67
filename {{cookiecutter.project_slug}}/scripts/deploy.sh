#!/bin/sh
# Operate a server with Docker Compose, over SSH: see docs/deployment.md. The Makefile calls this script.
#
#   HOST=user@server deploy.sh server        create the folder and its .env on the server
#   HOST=user@server deploy.sh deploy        deploy the images of IMAGE_TAG, by default the tag of this commit
#   HOST=user@server deploy.sh rollback | certificate
set -eu

stop() {
    echo "$*" >&2
    exit 1
}

on_server() { ${SSH:-ssh} "$HOST" "cd $folder && $*"; }

command=${1:-help}
case $command in
server | deploy | rollback | certificate) ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
[ -n "${HOST:-}" ] || stop "name the server: make $command HOST=user@server"
folder=${DEPLOY_FOLDER:-/srv/{{ cookiecutter.project_slug }}}
case $command in
server)
    ${SSH:-ssh} "$HOST" "mkdir -p $folder/releases" || stop "create $folder on the server, writable for the user of $HOST"
    # Secrets are generated on the server, and never leave it.
    # shellcheck disable=SC2016 # the server expands
    on_server 'if [ -e .env ]; then echo ".env exists"; exit; fi
        docker compose version || exit 1
        umask 077
        set -e
        while IFS= read -r line; do
            case $line in *"<secret>"*) line=${line%%<secret>*}$(od -An -N32 -tx1 /dev/urandom | tr -d " \n") ;; esac
            printf "%s\n" "$line"
        done >.env.new
        mv .env.new .env' <.env.example
    # shellcheck disable=SC2016 # the server expands
    on_server 'printf "#!/bin/sh\\nexec sh %s/current/deploy/server/release.sh compose \"\$@\"\\n" "$PWD" >compose && chmod +x compose'
    echo "Now set IMAGE_REPOSITORY, ALLOWED_HOSTS and other settings in $folder/.env on the server."
    ;;
deploy)
    tag=${IMAGE_TAG:-$(git describe --tags --exact-match 2>/dev/null || true)}
    [ -n "$tag" ] || stop "name a version that CI has published: make deploy HOST=$HOST IMAGE_TAG=v1.2.3"
    git rev-parse --quiet --verify "$tag^{commit}" >/dev/null || stop "git does not know $tag: git fetch --tags"
    release=$(date -u +%Y%m%d-%H%M%S)
    git archive "$tag" compose.yaml compose.production.yaml deploy | on_server "test -e .env && mkdir releases/$release &&
        tar -C releases/$release -xf - && ln -s ../../.env releases/$release/.env" ||
        stop "copying to $HOST:$folder failed: has make server been run?"
    on_server "UPDATE_PROXY=${UPDATE_PROXY:-} sh releases/$release/deploy/server/release.sh deploy $tag"
    ;;
rollback | certificate)
    on_server "test -e current || { echo 'nothing is deployed' >&2; exit 1; }; sh current/deploy/server/release.sh $command"
    ;;
esac
