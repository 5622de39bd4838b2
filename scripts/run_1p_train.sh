#!/usr/bin/env bash
# Trains on one Ascend device, or is one rank of a job on this host.
#   scripts/run_1p_train.sh DEVICE_ID [RANK_SIZE] --data_dir=TFRECORDS --model_dir=RUN [FLAGS...]
# DEVICE_ID (default 0): the device. RANK_SIZE (default 1): devices of the job; above 1 this starts only the rank of
# DEVICE_ID, with RANK_TABLE_FILE (default scripts/rank_tables/${RANK_SIZE}p.json); the others are started likewise.
# From the environment: FLAGFILE (default flags/1p.cfg, or flags/8p.cfg for a job), LOGS (default logs), PYTHON (python3).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)   # paths stay relative to where you are
. "$root/scripts/ascend.sh"

device=0 size=1
case "${1:-}" in [0-9]*) device=$1; shift ;; esac
case "${1:-}" in [0-9]*) size=$1; shift ;; esac
launch=(--device=npu --device_ids="$device" --logs="${LOGS:-logs}")
flagfile=$root/flags/1p.cfg
if [ "$size" -gt 1 ]; then
    launch+=(--rank_table="${RANK_TABLE_FILE:-$root/scripts/rank_tables/${size}p.json}" --server_id="${SERVER_ID:-}")
    flagfile=$root/flags/8p.cfg
fi
exec "${PYTHON:-python3}" -m edvr.launch "${launch[@]}" -- --flagfile="${FLAGFILE:-$flagfile}" "$@"
