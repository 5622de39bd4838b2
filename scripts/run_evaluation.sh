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
if [ -z "${DEVICE:-}" ]; then
    if compgen -G '/dev/davinci[0-9]*' > /dev/null; then DEVICE=npu; else DEVICE=cpu; fi
fi
export DEVICE_ID=$1 RANK_ID=0 RANK_SIZE=1 JOB_ID=${JOB_ID:-10385}
exec "${PYTHON:-python3}" -m edvr.evaluate --device="$DEVICE" --checkpoint="$2" \
    --data_dir="${DATA_DIR:-data/REDS}" --clips=REDS4 "${@:3}"
