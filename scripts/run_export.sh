#!/usr/bin/env bash
# Exports a checkpoint as one frozen graph:  bash scripts/run_export.sh CHECKPOINT [more flags of edvr.export]
# CHECKPOINT: training directory or checkpoint. From the environment: OUTPUT (default EDVR.pb), PYTHON (default python3).
# For Ascend add --dcn_impl=npu --batch_size=1 --height=180 --width=320 (of the frames to come).
set -euo pipefail
if [ $# -lt 1 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)   # paths stay relative to where you are
. "$root/scripts/ascend.sh"
exec "${PYTHON:-python3}" -m edvr.export --checkpoint="$1" --output="${OUTPUT:-EDVR.pb}" "${@:2}"
