#!/usr/bin/env bash
# Evaluates a network on REDS4:  bash scripts/run_evaluation.sh DEVICE_ID CHECKPOINT [more flags of edvr.evaluate]
# CHECKPOINT: training directory, checkpoint or exported graph. From the environment: DATA_DIR (default data/REDS),
# DEVICE (default npu where there is one, else cpu), PYTHON (default python3).
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)   # paths stay relative to where you are
. "$root/scripts/ascend.sh"
take_device "$1"
exec "${PYTHON:-python3}" -m edvr.evaluate --device="$DEVICE" --checkpoint="$2" \
    --data_dir="${DATA_DIR:-data/REDS}" --clips=REDS4 "${@:3}"
