#!/usr/bin/env bash
# Exports a checkpoint as one frozen graph:  bash scripts/run_freeze.sh [CHECKPOINT] [more flags of edvr.export]
# CHECKPOINT (default outputs/edvr): training directory or checkpoint. From the environment: OUTPUT (default EDVR.pb
# beside the checkpoint), PYTHON (default python3). For Ascend add --kernels=npu --batch_size=1 --height=180 --width=320
# (the size of the LQ frames).
set -eu
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)   # relative paths are relative to the current folder
# shellcheck source=scripts/ascend.sh
. "$root/scripts/ascend.sh"
take_checkpoint "$@"
exec "${PYTHON:-python3}" -m edvr.export ${chosen[@]+"${chosen[@]}"} ${OUTPUT:+"--output=$OUTPUT"} ${rest[@]+"${rest[@]}"}
