#!/usr/bin/env bash
# Evaluates a network on REDS4:  bash scripts/run_evaluation.sh [DEVICE_ID [CHECKPOINT]] [more flags of edvr.evaluate]
# Without DEVICE_ID all devices of the host share the work. CHECKPOINT (default outputs/edvr): training directory,
# checkpoint or exported graph. From the environment: DATA_DIR (default data/REDS), DEVICE (npu, gpu or cpu; default:
# detected), PYTHON (default python3).
set -eu
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)   # relative paths are relative to the current folder
# shellcheck source=scripts/ascend.sh
. "$root/scripts/ascend.sh"
take_device "$@"
exec "${PYTHON:-python3}" -m edvr.evaluate ${chosen[@]+"${chosen[@]}"} ${DATA_DIR:+"--data_dir=$DATA_DIR"} \
    ${rest[@]+"${rest[@]}"}
