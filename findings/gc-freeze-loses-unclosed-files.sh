#!/bin/sh
# CPython 3.11, 3.12 and 3.13, without packages.
# Expected: gc.freeze() changes only what the garbage collector visits. When a script ends, Python writes the buffer of a file that the
#   script has not closed.
# Actual: if the script calls gc.freeze() and has a function, its variables are in a reference cycle that is never freed, so the buffer of
#   the file is not written. No error or warning is printed, also with -W error and -X dev.
# Seen: 0 bytes of 5; without gc.freeze(), or with gc.unfreeze() after it, 5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > script.py <<'PYTHON'
import gc
import sys

if sys.argv[1] != "none":
    gc.freeze()
if sys.argv[1] == "unfreeze":
    gc.unfreeze()

file = open(sys.argv[1], "w")


def write(text):
    file.write(text)


write("saved")
PYTHON
for way in none freeze unfreeze; do
    python3 script.py $way
    echo "$way: $(wc -c < $way)" >> output
done
cat output
diff - output <<'TEXT'
none: 5
freeze: 0
unfreeze: 5
TEXT
