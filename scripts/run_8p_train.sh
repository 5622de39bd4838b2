#!/usr/bin/env bash
# Trains on eight Ascend devices of this host:  bash scripts/run_8p_train.sh [more flags of edvr.train]
# From the environment: RANK_TABLE_FILE (default: made at the start from the addresses of the cards), SERVER_ID (the server
# of this host in the table, if it is not detected), FLAGFILE (default flags/8p.cfg), PYTHON (default python3).
set -eu
case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' "$0"; exit ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)   # relative paths are relative to the current folder
# shellcheck source=scripts/ascend.sh
. "$root/scripts/ascend.sh"
exec "${PYTHON:-python3}" -m edvr.train --flagfile="${FLAGFILE:-$root/flags/8p.cfg}" \
    ${SERVER_ID:+"--this_host=$SERVER_ID"} "$@"
