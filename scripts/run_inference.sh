#!/usr/bin/env bash
# Restores clips or a video:  bash scripts/run_inference.sh [DEVICE_ID [CHECKPOINT]] [more flags of edvr.infer]
# Without DEVICE_ID all devices of the host share the work. CHECKPOINT (default outputs/edvr): training directory,
# checkpoint or exported graph. From the environment: INPUT (default data/REDS), OUTPUT (default outputs/edvr/test; a
# folder, or a video file), DEVICE (npu, gpu or cpu; default: detected), PYTHON (default python3).
set -eu
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)   # relative paths are relative to the current folder
# shellcheck source=scripts/ascend.sh
. "$root/scripts/ascend.sh"
take_device "$@"
exec "${PYTHON:-python3}" -m edvr.infer ${chosen[@]+"${chosen[@]}"} ${INPUT:+"--input=$INPUT"} \
    ${OUTPUT:+"--output=$OUTPUT"} ${rest[@]+"${rest[@]}"}
