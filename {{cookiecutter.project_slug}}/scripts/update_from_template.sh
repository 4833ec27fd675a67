# The targets `make template-check` and `make template-update`. .template.yaml records the template's location, the version and the answers;
# .cruft.json, which links a project to its template, records the commit.
set -eu

target=$1
answers=${ANSWERS:-'{}'}
renders=$PWD/.venv/render
# A git repository of the template: a clone, or a new one with a single commit of the folder.
template=$renders/template
# Not in .venv, where the versions of these tools could conflict.
cruft=${CRUFT:-${BIN:-.venv/bin}/uv tool run --quiet --from cruft==2.16.0 --with cookiecutter==2.7.1 cruft}

stop() {
    echo "$1" >&2
    exit 1
}

stop_without_template() {
    stop "$1. Pass the template's location: make $target TEMPLATE=PATH-OR-URL"
}

read_link() {
    sed -n "s/^  \"$1\": \"\(.*\)\",\$/\1/p" .cruft.json
}

read_record() {
    sed -n "s/^$1: \"\(.*\)\"/\1/p" .template.yaml
}

read_version() {
    sed -n 's/^ *"_template_version": "\(.*\)",*$/\1/p'
}

folder_version() {
    [ ! -e "$location/cookiecutter.json" ] || read_version <"$location/cookiecutter.json"
}

find_newest() {
    git -C "$template" tag --sort=-version:refname --list 'v[0-9]*' | sed '/-/d; q'
}

# Print the commit of this project's version: its tag, or the last commit with its version number.
find_commit() {
    version=$(read_record version)
    git -C "$template" rev-parse --quiet --verify "v$version^{commit}" && return
    if [ "$(git -C "$template" show HEAD:cookiecutter.json 2>/dev/null | read_version)" = "$version" ]; then
        git -C "$template" rev-parse HEAD
    else
        next=$(git -C "$template" log -1 --format=%H -S"\"_template_version\": \"$version\"" -- cookiecutter.json)
        [ -z "$next" ] || git -C "$template" rev-parse "$next^"
    fi
}

# Clone the template.
clone_template() {
    rm -rf "$renders"
    if [ -z "$is_linked" ] && [ "$answers" != '{}' ] && [ "$(folder_version)" = "$(read_record version)" ]; then
        # cookiecutter renders a folder with its uncommitted changes.
        git init --quiet "$template"
        (
            export GIT_DIR="$template/.git"
            git -c core.excludesFile= --work-tree="$location" add --all
            git update-ref HEAD "$(commit_tree -m "template, uncommitted")"
        )
    elif ! output=$(git clone --quiet --bare "$location" "$template/.git" 2>&1); then
        found=$(folder_version)
        [ -z "$found" ] || output="fatal: $location is not a git repository, and its version is $found"
        output=$(echo "$output" | sed -n 's/^fatal: //p' | sed q)
        stop_without_template "No template of version $(read_record version): $output"
    fi
}

commit_tree() {
    git -c user.name=template -c user.email=template commit-tree "$(git write-tree)" "$@"
}

# Stop with the validation message of the template without its traceback, or with the whole output if there is no such message.
stop_with_message() {
    stop "$(sed -n 's/^ValueError: //p' "$1" | grep . || sed '/^Stopping generation/,$d' "$1")"
}

# Render the template with the answers of this project. Arguments: folder, version, changed answers.
render() {
    _TYPER_STANDARD_TRACEBACK=1 $cruft create "$source" --checkout "$2" --no-input --config-file .template.yaml \
        --extra-context "$3" --output-dir "$renders/$1" >/dev/null 2>"$renders/errors" || stop_with_message "$renders/errors"
    rm "$renders/$1"/*/.env
    [ "$is_linked" ] || rm "$renders/$1"/*/.cruft.json
}

# Commit a rendered project outside of all branches, and print the commit. Arguments: folder, options of git commit-tree.
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
    commit_tree "$@"
}

command -v git >/dev/null || stop "git is missing: install it"
python=${BIN:-.venv/bin}/python
"$python" scripts/check_answers.py "$answers"
is_linked=$([ ! -e .cruft.json ] || echo yes)
if [ "$is_linked" ]; then
    location=${TEMPLATE:-$(read_link template)}
else
    location=${TEMPLATE:-$(read_record template)}
fi
if [ "$target" != template-check ]; then
    git ls-files --error-unmatch .template.yaml >/dev/null 2>&1 ||
        stop "Commit the project to git first: git init && git add --all && git commit --message 'As rendered'"
    [ -z "$(git status --porcelain)" ] || stop "Commit your work first, or stash it."
fi

trap 'rm -rf "$renders"' EXIT
clone_template
if [ "$is_linked" ]; then
    commit=$(read_link commit) source=$location
else
    commit=$(find_commit) source=$template
    [ "$commit" ] || stop_without_template "$location has no version $(read_record version), the version of this project"
fi
if [ "$answers" = '{}' ]; then
    version=${VERSION:-$(find_newest)}
    version=${version:-HEAD}
else
    version=$commit
fi
for needed in "$commit" "$version"; do
    git -C "$template" rev-parse --quiet --verify "$needed^{commit}" >/dev/null || stop_without_template "$location has no $needed"
done
if [ "$answers" = '{}' ]; then
    if [ -z "$is_linked" ]; then
        $cruft link "$location" --checkout "$commit" --no-input --config-file .template.yaml
        is_linked=yes source=$location
        [ "$target" = template-check ] || git add .cruft.json
        echo "Linked: commit .cruft.json"
    fi
    if git -C "$template" merge-base --is-ancestor "$version" "$commit"; then
        echo "Nothing to do: the template has nothing newer than $version"
        exit
    fi
    [ "$target" != template-check ] || stop "The template has a newer version, $version: make template-update"
fi

# For new questions the template names the answers that change nothing.
answers=$(git -C "$template" show "$version:cookiecutter.json" | "$python" scripts/complete_answers.py "$answers")
render old "$commit" '{}'
render new "$version" "$answers"
[ -z "$is_linked" ] || cp .cruft.json "$renders"/old/*/
old=$(commit old -m "template, previous version")
new=$(commit new -m "template, $version" -p "$old")
# git merges the difference with the changes of this project.
output=$(git -c merge.conflictStyle=diff3 cherry-pick --no-commit "$new" 2>&1) ||
    [ "$(git ls-files --unmerged)" ] || stop "$output"
notes=
"$python" scripts/merge.py "$renders"/old/* "$renders"/new/*
# {% if cookiecutter.__sql %}
notes=$("$python" scripts/relink_migrations.py "$renders"/old/* "$renders"/new/*)
# {% endif %}
git status --short
[ -z "$notes" ] || echo "$notes"
[ -z "$(git ls-files --unmerged)" ] || stop "There are conflicts: edit the files marked U, and git add them."
echo "Next: make setup check test, review git diff HEAD, and commit."
