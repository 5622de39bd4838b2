#!/usr/bin/env bash
# Builds the compiled deformable convolution for the installed TensorFlow and this machine, and prints its path.
# The first training or restoration on a CPU does it too; this is for images and clusters that build beforehand.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m edvr.build_ops
