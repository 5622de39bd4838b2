#!/usr/bin/env bash
# Trains on all Ascend devices of a rank table that are in this host, eight by default: one process each.
#   scripts/run_8p_train.sh --data_dir=TFRECORDS --model_dir=RUN [FLAGS...]
# Each rank writes LOGS/rank_N.log; one that fails stops the job. Ctrl-C saves and stops; the same command goes on.
# From the environment: RANK_TABLE_FILE (default scripts/rank_tables/8p.json; make yours with python -m
# edvr.rank_table), SERVER_ID (which server of the table this is, where it has several), FLAGFILE (default
# flags/8p.cfg), LOGS (default logs), PYTHON (default python3).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)   # paths stay relative to where you are
. "$root/scripts/ascend.sh"

exec "${PYTHON:-python3}" -m edvr.launch --device=npu \
    --rank_table="${RANK_TABLE_FILE:-$root/scripts/rank_tables/8p.json}" --server_id="${SERVER_ID:-}" \
    --logs="${LOGS:-logs}" -- --flagfile="${FLAGFILE:-$root/flags/8p.cfg}" "$@"
