#!/bin/sh
# cookiecutter 2.7.1.
# Expected: --overwrite-if-exists with --skip-if-file-exists keeps each file that exists.
# Actual: it keeps rendered files only. A file that matches `_copy_without_render` is replaced, and so is a folder: its other files
#   are deleted. Nothing is printed.
# Workaround: render files that owners edit, or keep a copy of the folder.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cookiecutter==2.7.1
mkdir -p "$folder/template/{{cookiecutter.name}}/copied"
cd "$folder/template"
echo '{"name": "project", "_copy_without_render": ["copied", "copied.txt"]}' > cookiecutter.json
for file in rendered.txt copied.txt copied/file.txt; do echo template > "{{cookiecutter.name}}/$file"; done
render() { "$folder/venv/bin/cookiecutter" --no-input --overwrite-if-exists --skip-if-file-exists --output-dir "$folder" "$folder/template"; }
render
for file in rendered.txt copied.txt copied/file.txt copied/other.txt; do echo owner > "$folder/project/$file"; done
render
cd "$folder/project"
for file in rendered.txt copied.txt copied/file.txt copied/other.txt; do echo "$file: $(cat "$file" 2>/dev/null || echo deleted)"; done | tee "$folder/output"
diff - "$folder/output" <<'TEXT'
rendered.txt: owner
copied.txt: template
copied/file.txt: template
copied/other.txt: deleted
TEXT
