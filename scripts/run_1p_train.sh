#!/usr/bin/env bash
# Trains on one Ascend device:  bash scripts/run_1p_train.sh [DEVICE_ID [RANK_SIZE]] [more flags of edvr.train]
# With RANK_SIZE above 1 this process is one rank of a job, number RANK_ID (default DEVICE_ID) of RANK_TABLE_FILE
# (default scripts/rank_tables/${RANK_SIZE}p.json); scripts/run_8p_train.sh starts all ranks with one command.
# From the environment: FLAGFILE (default flags/1p.cfg, or flags/8p.cfg for a rank), PYTHON (default python3).
set -eu
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)   # relative paths are relative to the current folder
# shellcheck source=scripts/ascend.sh
. "$root/scripts/ascend.sh"

device=0 size=1
case "${1:-}" in [0-9]*) device=$1; shift ;; esac
case "${1:-}" in [0-9]*) size=$1; shift ;; esac
export DEVICE_ID=$device
if [ "$size" -gt 1 ]; then
    export RANK_ID="${RANK_ID:-$device}" RANK_SIZE="$size" JOB_ID="${JOB_ID:-edvr}"
    export RANK_TABLE_FILE="${RANK_TABLE_FILE:-$root/scripts/rank_tables/${size}p.json}"
    exec "${PYTHON:-python3}" -m edvr.train --flagfile="${FLAGFILE:-$root/flags/8p.cfg}" --num_devices="$size" "$@"
fi
unset RANK_ID RANK_SIZE RANK_TABLE_FILE
exec "${PYTHON:-python3}" -m edvr.train --flagfile="${FLAGFILE:-$root/flags/1p.cfg}" "$@"
