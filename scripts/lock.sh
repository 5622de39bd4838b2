#!/usr/bin/env bash
# Writes the packages of the tested environments in .venvs/ with versions and SHA-256: tests/locked-tf*.txt, and those that
# programs need, without the tests, for the images of the Dockerfile: requirements/locked/cpu.txt and gpu.txt.
#   bash scripts/lock.sh [1.15 | 2.15]        after `bash scripts/test.sh`, which makes the environments
# The files are of x86-64 Linux, as the hashes are those of its wheels: pip install --require-hashes -r FILE
# environment.sh keeps to the ranges, which also serve aarch64 and the TensorFlow of Ascend hosts.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# lock PYTHON FILE ARGUMENT...: writes FILE, the packages that pip installs with these arguments, in versions.txt's versions
lock() {
    local python=$1 file=$2
    shift 2
    "$python" -m pip install --quiet --dry-run --ignore-installed --report "$folder/report.json" \
        -c "$folder/versions.txt" "$@"
    "$python" - "$folder/report.json" > "$folder/locked.txt" <<'END'
import json
import platform
import sys

with open(sys.argv[1]) as file:
    found = json.load(file)['install']
print('# Written by scripts/lock.sh: Python %s, %s' % ('.'.join(platform.python_version_tuple()[:2]), platform.machine()))
for item in sorted(found, key=lambda item: item['metadata']['name'].lower()):
    print('%s==%s --hash=sha256:%s' % (item['metadata']['name'].lower(), item['metadata']['version'],
                                       item['download_info']['archive_info']['hashes']['sha256']))
END
    mv "$folder/locked.txt" "$file"
    echo "$file: $(grep -c == "$file") packages"
}

for tensorflow in "${@:-1.15 2.15}"; do
    for version in $tensorflow; do
        python=.venvs/tf$version/bin/python
        [ -x "$python" ] || { echo "error: $python is missing: bash scripts/test.sh --tensorflow=$version makes it" >&2; exit 1; }
        "$python" -m pip freeze --all | grep -E '^[A-Za-z0-9_.-]+==' > "$folder/versions.txt"
        lock "$python" "tests/locked-tf$version.txt" -r requirements.txt -r requirements/tf.txt -r tests/requirements.txt
        if [ "$version" = 2.15 ]; then
            programs=(-r requirements.txt -r requirements/tf.txt -r requirements/lmdb.txt)
            lock "$python" requirements/locked/cpu.txt "${programs[@]}"
            lock "$python" requirements/locked/gpu.txt "${programs[@]}" 'tensorflow[and-cuda]'
        fi
    done
done
