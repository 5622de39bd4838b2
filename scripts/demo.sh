#!/usr/bin/env bash
# Runs the demonstration on the CPU of this machine: makes .venv/, then runs all programs from clips to a frozen graph
# (edvr/demo.py).
#   bash scripts/demo.sh [--fresh] [--tensorflow=1.15|2.15] [--output_dir=demo_output] [--steps=N]
# A second run skips finished parts and continues after them; --fresh starts over.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh

start=$(date +%s) tensorflows='1.15 2.15' arguments=()
for argument in "$@"; do
    case "$argument" in
        --tensorflow=*) tensorflows=${argument#*=} ;;
        *) arguments+=("$argument") ;;
    esac
done
reasons=
for tensorflow in $tensorflows; do
    python=$(python_for "$tensorflow" 2>&1) && break
    reasons="$reasons
  $python" python=
done
[ -n "$python" ] || die "no TensorFlow can be installed here:$reasons
Install one of these Pythons, for instance with pyenv ('pyenv install 3.7' or 'pyenv install 3.11') or uv ('uv python install 3.11')."
make_environment .venv "$python" requirements.txt requirements/tf.txt
exec .venv/bin/python -m edvr.demo --seconds_before=$(($(date +%s) - start)) ${arguments[@]+"${arguments[@]}"}
