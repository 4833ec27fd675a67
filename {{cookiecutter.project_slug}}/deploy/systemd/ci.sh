#!/bin/sh
# Deploy the commit from a CI pipeline, and test the service from outside. If it does not work, roll back and fail. Variables:
#   HOST             {{ cookiecutter.__system_user }}-deploy@server.example.com
#   URL              https://{{ cookiecutter.domain_name }}
#   SSH_KEY          a private key that the server accepts
#   SSH_KNOWN_HOSTS  the server's public key: ssh-keyscan server.example.com, compared with that on the server
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 077
printf '%s\n' "$SSH_KEY" > "$folder/key"
printf '%s\n' "$SSH_KNOWN_HOSTS" > "$folder/known_hosts"
options="-i $folder/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$folder/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes"

test_service() {
    for path in {{ cookiecutter.__smoke_paths }}; do
        curl --fail --silent --show-error --max-time 30 --retry 3 --retry-all-errors --output "$folder/response" "$URL$path" || return 1
    done
}

make deploy HOST="$HOST" SSH="ssh $options"
if ! test_service; then
    echo "$URL does not work" >&2
    make rollback HOST="$HOST" SSH="ssh $options"
    exit 1
fi
