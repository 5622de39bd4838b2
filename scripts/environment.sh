# shellcheck shell=bash
# Finds a Python that works, and makes a virtual environment with one of the TensorFlows. The other scripts source it.
# Python 3.7 has TensorFlow 1.15 (for Ascend), 3.8 has TensorFlow 2.6 (also for Ascend), 3.9 to 3.11 have TensorFlow 2.15.

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# works PYTHON VERSION: succeeds if the interpreter starts, has this version and can make environments. The shim of a version
# manager may fail in each of these.
works() {
    "$1" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" >/dev/null 2>&1
}

# find_python VERSION...: prints the first interpreter that works, from PATH, pyenv and uv.
find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" python3 python \
                "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python \
                "$(uv python find "$version" 2>/dev/null || true)"; do
            if [ -n "$candidate" ] && works "$candidate" "$version"; then
                "$candidate" -c 'import sys; print(sys.executable)'
                return 0
            fi
        done
    done
    return 1
}

# python_for TENSORFLOW: prints the interpreter for '1.15', '2.6' or '2.15'; on failure prints the reason to stderr.
python_for() {
    local python
    case "$1" in
        1.15)
            python=$(find_python 3.7) || { echo "TensorFlow 1.15 needs Python 3.7, and none that works was found" >&2; return 1; }
            if [ "$(uname -m)" != x86_64 ] && ! "$python" -c 'import tensorflow' >/dev/null 2>&1; then
                echo "TensorFlow 1.15 has no wheel for $(uname -m) on PyPI; install the wheel of your Ascend host for $python" >&2
                return 1
            fi ;;
        2.6)
            python=$(find_python 3.8) || { echo "TensorFlow 2.6 needs Python 3.8 here, and none that works was found" >&2; return 1; } ;;
        2.15)
            python=$(find_python 3.11 3.10 3.9) \
                || { echo "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11, and none that works was found" >&2; return 1; } ;;
        *) die "TensorFlow $1 is not one of 1.15, 2.6, 2.15" ;;
    esac
    echo "$python"
}

# make_environment DIRECTORY PYTHON REQUIREMENTS...: makes a virtual environment; does nothing if it has these requirements.
make_environment() {
    local directory=$1 python=$2 wanted file pip_arguments=() venv_arguments=()
    shift 2
    wanted="$python $(cat "$@" | cksum)"
    if [ "$(cat "$directory/.made_for" 2>/dev/null)" = "$wanted" ] && "$directory/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    say "making $directory with $python ($("$python" --version 2>&1)): this takes a minute or two"
    # An Ascend host on aarch64 has its own TensorFlow 1.15, which no package index has.
    [ "$(uname -m)" = x86_64 ] || venv_arguments=(--system-site-packages)
    rm -rf "$directory"
    "$python" -m venv ${venv_arguments[@]+"${venv_arguments[@]}"} "$directory" || die "$python could not make $directory"
    for file in "$@"; do pip_arguments+=(-r "$file"); done
    if ! "$directory/bin/python" -m pip install --quiet --upgrade 'pip>=22' \
            || ! "$directory/bin/python" -m pip install --quiet "${pip_arguments[@]}"; then
        die "installing $* in $directory failed (see above); remove the cause and run this again"
    fi
    echo "$wanted" > "$directory/.made_for"
}
