#!/usr/bin/env bash
# Runs the tests of the compiled operators with a library built with AddressSanitizer and UndefinedBehaviorSanitizer:
#   bash tests/faults/sanitized.sh PYTHON [pytest arguments]
# PYTHON has TensorFlow. Without pytest arguments: all sizes from 1 to 20, then the operator tests. The library lies in
# build/sanitized, so that no other program loads it; building it takes minutes.
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || { echo "error: name a Python with TensorFlow: bash tests/faults/sanitized.sh .venvs/tf2.15/bin/python" >&2; exit 1; }
python=$1
shift
compiler=${CXX:-g++}
asan=$("$compiler" -print-file-name=libasan.so)
[ -e "$asan" ] || { echo "error: $compiler has no libasan.so: install it (Debian: libasan8, part of g++)" >&2; exit 1; }
folder=$PWD/build/sanitized
mkdir -p "$folder"
chmod 700 "$folder"
printf '#!/bin/sh\nexec %s "$@" -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all\n' \
    "$compiler" > "$folder/compiler"
chmod +x "$folder/compiler"
export CXX=$folder/compiler EDVR_CACHE_DIR=$folder/cache
"$python" -c 'from edvr.ops import native_library; print(native_library.build())'
# leaks: Python and TensorFlow leave memory at their end
standard=$("$compiler" -print-file-name=libstdc++.so)
export LD_PRELOAD="$asan $standard" ASAN_OPTIONS=detect_leaks=0:halt_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
# capture=sys: a report goes to descriptor 2 and the process ends, so pytest must not keep what is written there
if [ $# -gt 0 ]; then
    "$python" -m pytest -q --capture=sys "$@"
else
    "$python" tests/faults/sanitized_sizes.py
    "$python" -m pytest -q --capture=sys tests/test_native_ops.py tests/test_conv_cpu.py tests/test_deform_conv.py
fi
