#!/usr/bin/env bash
# The older name of scripts/run_export.sh.
exec bash "$(dirname "$0")/run_export.sh" "$@"
