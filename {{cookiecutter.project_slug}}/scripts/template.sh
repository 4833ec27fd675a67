# What `make outdated` and `make update` do: .cruft.json says which template made this project, and which commit of it.
set -eu

renders=$PWD/.venv/render
# Apart from .venv, where these tools could meet other versions.
cruft=${CRUFT:-${BIN:-.venv/bin}/uv tool run --quiet --from cruft==2.16.0 --with cookiecutter==2.7.1 cruft}

stop() {
    echo "$1" >&2
    exit 1
}

linked() {
    sed -n "s/^  \"$1\": \"\(.*\)\",\$/\1/p" .cruft.json
}

newest() {
    git ls-remote --tags --refs --sort=-version:refname "$(linked template)" 'v[0-9]*' |
        sed 's|.*refs/tags/||; /-/d; q'
}

# Render the template with the answers of this project: into which folder, which version, other answers.
render() {
    $cruft create "$(linked template)" --checkout "$2" --no-input --config-file .template.yaml \
        --extra-context "$3" --output-dir "$renders/$1" >/dev/null
    rm "$renders/$1"/*/.env
}

# Make a render a commit that no branch has, and name it.
commit() {
    export GIT_INDEX_FILE="$renders/$1.index"
    git --work-tree="$(echo "$renders/$1"/*)" add --all --force
    prefix=$(git rev-parse --show-prefix)
    if [ "$prefix" ]; then
        tree=$(git write-tree)
        git read-tree --empty
        git read-tree --prefix="$prefix" "$tree"
    fi
    shift
    git -c user.name=template -c user.email=template commit-tree "$(git write-tree)" "$@"
}

if [ ! -e .cruft.json ]; then
    [ "${TEMPLATE:-}" ] || stop "Name the template, once: make $1 TEMPLATE=PATH-OR-URL"
    made=$(sed -n 's/^version: "\(.*\)"/\1/p' .template.yaml)
    $cruft link "$TEMPLATE" --checkout "v$made" --no-input --config-file .template.yaml
    echo "Linked: commit .cruft.json"
fi
version=${VERSION:-$(newest)}
version=${version:-HEAD}

case $1 in
outdated)
    code=0
    said=$($cruft check --not-strict --checkout "$version") || code=$?
    echo "$said" | sed 's/cruft update/make update/'
    exit "$code"
    ;;
update)
    [ -z "$(git status --porcelain)" ] || stop "Commit your work first, or stash it."
    answers=${ANSWERS:-'{}'}
    if [ "$answers" != '{}' ]; then
        version=$(linked commit)
    elif $cruft check --not-strict --checkout "$version" >/dev/null; then
        echo "Nothing to do: the template has nothing newer than $version"
        exit
    fi
    rm -rf "$renders"
    render old "$(linked commit)" '{}'
    render new "$version" "$answers"
    cp .cruft.json "$renders"/old/*/
    old=$(commit old -m "template, as it was")
    new=$(commit new -m "template, $version" -p "$old")
    # Git keeps what was changed here, and merges.
    git cherry-pick --no-commit "$new" || [ "$(git ls-files --unmerged)" ]
    # What was deleted here stays deleted, also when the template changes it.
    git -c status.relativePaths=true status --short | sed -n 's/^DU //p' | while read -r path; do git rm --quiet "$path"; done
    git status --short
    [ -z "$(git ls-files --unmerged)" ] || stop "Not all could be merged: mend the files marked U, and add them."
    ;;
esac
