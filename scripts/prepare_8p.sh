#!/usr/bin/env bash
# Checks that this host can train on eight Ascend devices, and prints the rank table:  bash scripts/prepare_8p.sh [flags]
# It is optional: scripts/run_8p_train.sh does the same checks. The environment variables are those of run_8p_train.sh.
set -eu
case "${1:-}" in -h | --help) sed -n '2,3s/^# //p' "$0"; exit ;; esac
exec bash "$(dirname "$0")/run_8p_train.sh" --dry_run "$@"
