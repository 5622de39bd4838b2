#!/usr/bin/env bash
# Runs the linter, the type checker and the whole test suite on TensorFlow 1.15 and on 2.15, each in a separate environment in .venvs/.
#   bash scripts/test.sh [--torch] [--beam] [--spark] [--gpu] [--tensorflow=1.15|2.6|2.13|2.15] [pytest arguments]
# --tensorflow=2.6 and 2.13 run the whole suite on TensorFlow 2.6.5 (Python 3.8) and 2.13.1, which are also for Ascend hosts.
# pytest arguments: --faults runs the whole fault campaign (hours) instead of a part; with it, --long_run=0.1 runs a tenth
# of the long run, which is an hour of training and 20,000 frames; -k NAME runs some tests; ...
# --torch also installs PyTorch and OpenVINO beside TensorFlow 2.15, for the tests that compare with them (otherwise
# they are skipped).
# --beam also installs Apache Beam beside each TensorFlow, for the tests of --runner (otherwise most are skipped).
# --spark also installs Apache Beam, its runner for Spark and pyspark beside TensorFlow 2.15, for tests/test_spark.py, which
# needs Java (otherwise it is skipped).
# --gpu runs the tests of the GPU operator, and nothing else, on a GPU of this host (TensorFlow 2.15 with its CUDA wheels).
# A TensorFlow without a working interpreter is reported and skipped; with CI=true it is a failure.
set -u
cd "$(dirname "$0")/.." || exit
. scripts/environment.sh

with_torch='' with_beam='' with_spark='' with_gpu='' tensorflows='1.15 2.15'
while :; do
    case "${1:-}" in
        --torch) with_torch=1 ;;
        --beam) with_beam=1 ;;
        --spark) with_spark=1 with_beam=1 ;;
        --gpu) with_gpu=1 tensorflows=2.15 ;;
        --tensorflow=*) tensorflows=${1#*=} ;;
        *) break ;;
    esac
    shift
done

passed=0 failed=0 skipped=0 status=0 ran=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

count() {  # count LOG WORD: the number before WORD in the last line of pytest; libraries may warn after it
    grep -aE ' in [0-9.]+s( |$)' "$1" | tail -n 1 | grep -oE "[0-9]+ $2" | grep -oE '^[0-9]+' || echo 0
}

for tensorflow in $tensorflows; do
    if ! python=$(python_for "$tensorflow" 2>"$logs/why"); then
        say "TensorFlow $tensorflow skipped: $(cat "$logs/why")"
        [ "${CI:-}" = true ] && { status=1; failed=$((failed + 1)); }
        continue
    fi
    environment=.venvs/tf$tensorflow${with_gpu:+-gpu}
    requirements=(requirements.txt requirements/tf.txt tests/requirements.txt)
    [ "$tensorflow" = 2.13 ] && requirements[1]=tests/requirements-tf2.13.txt
    [ -n "$with_torch" ] && [ "$tensorflow" = 2.15 ] && requirements+=(tests/requirements-torch.txt)
    [ -n "$with_beam" ] && requirements+=(requirements/beam.txt)
    if [ -n "$with_gpu" ]; then
        requirements=(requirements.txt tests/requirements-gpu.txt)
        export EDVR_GPU_TESTS=1
        set -- tests/test_cuda.py "$@"
    fi
    (make_environment "$environment" "$python" "${requirements[@]}") || { status=1; failed=$((failed + 1)); continue; }
    if [ -n "$with_spark" ] && [ "$tensorflow" = 2.15 ]; then
        # no dependencies: the runner asks for one old version of Beam
        "$environment/bin/python" -m pip install --quiet --no-deps -r tests/requirements-spark.txt ||
            { status=1; failed=$((failed + 1)); continue; }
    fi
    if [ "$ran" = 0 ] && [ -z "$with_gpu" ]; then
        "$environment/bin/ruff" check . || { status=1; failed=$((failed + 1)); }
        # TensorFlow 2.6 and 2.13 need versions of packages that mypy does not take
        case "$tensorflow" in
            2.6 | 2.13) ;;
            *) "$environment/bin/mypy" || { status=1; failed=$((failed + 1)); } ;;
        esac
    fi
    ran=1
    say "TensorFlow $tensorflow: $("$environment/bin/python" --version)"
    log=$logs/$tensorflow
    # loadfile: the tests of a file share graphs and runs, which are then made once, not once in each process
    "$environment/bin/python" -m pytest --numprocesses "$(nproc)" --dist loadfile "$@" 2>&1 | tee "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
    passed=$((passed + $(count "$log" passed))) skipped=$((skipped + $(count "$log" skipped)))
    failed=$((failed + $(count "$log" failed) + $(count "$log" 'errors?')))
done

[ "$ran" = 1 ] || die "no TensorFlow could be tested: install Python 3.7 (TensorFlow 1.15) or 3.9 to 3.11 (2.15)"
# A run that fails without a failed test (a crash, a collection error) must not look like a success.
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
