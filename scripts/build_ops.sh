#!/usr/bin/env bash
# Builds the compiled operators for the installed TensorFlow and this machine, and prints their paths.
# The first training or restoration on a CPU builds them too; images and clusters can build them in advance.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m edvr.build_ops
