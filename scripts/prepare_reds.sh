#!/usr/bin/env bash
# Downloads REDS, regroups it and packs the training clips:  bash scripts/prepare_reds.sh [flags of data_tools.make_tfrecords]
# After an interruption the same command continues with the unfinished step. From the environment: DATA_DIR (default
# data/REDS; needs about 41 GB, 75 GB while unpacking, then 97 GB more for the shards, 62 GB with --encoding=tiles),
# BASE_URL (a mirror), MODE (link, move, copy), SPLIT (reds4, official), NUM_FRAMES (default 5), TFRECORDS (default
# $DATA_DIR/tfrecords), PYTHON (default python3).
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,6s/^# //p' "$0"; exit ;; esac
PYTHONPATH="$(cd "$(dirname "$0")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}"   # relative paths are relative to the current folder
export PYTHONPATH
python=${PYTHON:-python3}
root=${DATA_DIR:-data/REDS}

"$python" -m data_tools.download_reds --root_dir="$root" ${BASE_URL:+"--base_url=$BASE_URL"} \
    --train_sharp --train_sharp_bicubic --val_sharp --val_sharp_bicubic
"$python" -m data_tools.regroup_reds --root_dir="$root" --mode="${MODE:-link}" --split="${SPLIT:-reds4}"
"$python" -m data_tools.make_tfrecords --data_dir="$root" --output_dir="${TFRECORDS:-$root/tfrecords}" \
    --num_frames="${NUM_FRAMES:-5}" "$@"
