# shellcheck shell=bash
# Finds a Python that works, and makes a virtual environment with one of the TensorFlows. The other scripts source it.
# Python 3.7 has TensorFlow 1.15 (for Ascend), 3.8 has TensorFlow 2.6 (also for Ascend), 3.9 to 3.11 have TensorFlow 2.15
# and 2.13 (also for Ascend).
# The TensorFlow of an Ascend host is kept.

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

# too_new: prints a remark if the `python3` of PATH is newer than all TensorFlows of this project.
too_new() {
    python3 -c "import sys
if sys.version_info >= (3, 12):
    print('; python3 here is %d.%d, and TensorFlow 2.15, the last with Estimator, is for Python up to 3.11'
          % sys.version_info[:2])" 2>/dev/null || true
}

# host_tensorflow PYTHON: prints the version of a TensorFlow that PYTHON loads, if an Ascend adapter exists for it. Its
# distribution may have any name: tensorflow, tensorflow-cpu, or that of a wheel somebody built for aarch64.
host_tensorflow() {
    local version
    version=$("$1" -c 'import tensorflow; print(tensorflow.__version__)' 2>/dev/null) || return 1
    case "$version" in
        1.15.* | 2.6.* | 2.13.*) echo "$version" ;;
        *) return 1 ;;
    esac
}

# has_cards: succeeds on a host with Ascend cards.
has_cards() { compgen -G '/dev/davinci[0-9]*' >/dev/null; }

# python_for TENSORFLOW: prints the interpreter for '1.15', '2.6', '2.13' or '2.15'; on failure prints the reason to stderr.
python_for() {
    local python
    case "$1" in
        1.15)
            python=$(find_python 3.7) || { echo "TensorFlow 1.15 needs Python 3.7, and none that works was found" >&2; return 1; }
            if [ "$(uname -m)" != x86_64 ] && ! host_tensorflow "$python" >/dev/null; then
                echo "TensorFlow 1.15 has no wheel for $(uname -m) on PyPI; install the wheel of your Ascend host for $python" >&2
                return 1
            fi ;;
        2.6)
            python=$(find_python 3.8) || { echo "TensorFlow 2.6 needs Python 3.8 here, and none that works was found" >&2; return 1; } ;;
        2.15)
            if ! python=$(find_python 3.11 3.10 3.9); then
                echo "TensorFlow 2.15 needs Python 3.9, 3.10 or 3.11, and none that works was found$(too_new)" >&2
                return 1
            fi ;;
        2.13)
            python=$(find_python 3.9 3.10 3.11) || { echo "TensorFlow 2.13 needs Python 3.9, 3.10 or 3.11, and none that works was found" >&2; return 1; } ;;
        *) die "TensorFlow $1 is not one of 1.15, 2.6, 2.13, 2.15" ;;
    esac
    echo "$python"
}

# make_environment DIRECTORY PYTHON REQUIREMENTS...: makes a virtual environment; does nothing if it has these requirements.
# With the TensorFlow of an Ascend host, the files that name one are left out; with cards, the environment sees the packages of
# PYTHON: CANN's Python packages need those.
make_environment() {
    local directory=$1 python=$2 wanted file kept pip_arguments=() venv_arguments=()
    shift 2
    wanted="$python $(cat "$@" | cksum)$(has_cards && echo ' cards' || true)"
    if [ "$(cat "$directory/.made_for" 2>/dev/null)" = "$wanted" ] && "$directory/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    say "making $directory with $python ($("$python" --version 2>&1)): this takes a minute or two"
    if has_cards || host_tensorflow "$python" >/dev/null; then venv_arguments=(--system-site-packages); fi
    rm -rf "$directory"
    "$python" -m venv ${venv_arguments[@]+"${venv_arguments[@]}"} "$directory" || die "$python could not make $directory"
    if kept=$(host_tensorflow "$directory/bin/python"); then
        say "TensorFlow $kept of this host is kept"
        # no other package may bring versions that it does not work with
        "$directory/bin/python" -c 'import google.protobuf, numpy
print("numpy==%s\nprotobuf==%s" % (numpy.__version__, google.protobuf.__version__))' > "$directory/host.txt"
        pip_arguments=(-c "$directory/host.txt")
    fi
    for file in "$@"; do
        case "$file" in
            requirements/tf.txt | tests/requirements-tf*.txt) if [ -z "$kept" ]; then pip_arguments+=(-r "$file"); fi ;;
            *) pip_arguments+=(-r "$file") ;;
        esac
    done
    if ! "$directory/bin/python" -m pip install --quiet --upgrade 'pip>=22' \
            || ! "$directory/bin/python" -m pip install --quiet "${pip_arguments[@]}"; then
        die "installing $* in $directory failed (see above); remove the cause and run this again"
    fi
    echo "$wanted" > "$directory/.made_for"
}
