#!/usr/bin/env bash
# Restores clips or a video:  bash scripts/run_inference.sh DEVICE_ID CHECKPOINT [more flags of edvr.infer]
# CHECKPOINT: training directory, checkpoint or exported graph. From the environment: INPUT (default data/REDS), OUTPUT (default
# restored; a folder, or a video file), DEVICE (default npu where there is one, else cpu), PYTHON (default python3).
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)   # paths stay relative to where you are
. "$root/scripts/ascend.sh"
take_device "$1"
exec "${PYTHON:-python3}" -m edvr.infer --device="$DEVICE" --checkpoint="$2" \
    --input="${INPUT:-data/REDS}" --output="${OUTPUT:-restored}" "${@:3}"
