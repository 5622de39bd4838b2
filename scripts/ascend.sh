# shellcheck shell=bash
# Sourced by the run_*.sh scripts, with $root set: the environment of an Ascend host.
# ASCEND_SET_ENV: CANN's script that sets where its libraries are, when it is not at one of the usual places.
if [ -n "${ASCEND_SET_ENV:-}" ] && [ ! -f "$ASCEND_SET_ENV" ]; then
    printf 'error: ASCEND_SET_ENV is %s, which is not a file\n' "$ASCEND_SET_ENV" >&2
    exit 1
fi
# newer releases of CANN are in `cann`, older ones in `ascend-toolkit` or `nnae`
for file in "${ASCEND_SET_ENV:-}" /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh \
        /usr/local/Ascend/nnae/set_env.sh "${HOME:-}/Ascend/cann/set_env.sh" \
        "${HOME:-}/Ascend/ascend-toolkit/set_env.sh"; do
    if [ -f "$file" ]; then
        set +eu   # it is not written for these
        # shellcheck disable=SC1090
        . "$file"
        set -eu
        break
    fi
done
# the TensorFlow plugin has a script of its own, beside the toolkit
for file in /usr/local/Ascend/tfplugin/set_env.sh "${HOME:-}/Ascend/tfplugin/set_env.sh"; do
    if [ -f "$file" ]; then
        set +eu
        # shellcheck disable=SC1090
        . "$file"
        set -eu
        break
    fi
done
export PYTHONPATH="${root:?}${PYTHONPATH:+:$PYTHONPATH}"

# take_checkpoint [CHECKPOINT] [FLAGS...]: sets the arrays `chosen`, the flag of the checkpoint if one is named, and
# `rest`. A name of the older port, DIRECTORY/EDVR-600000, stands for this port's checkpoint of that step.
take_checkpoint() {
    chosen=() rest=("$@")
    case "${1:-}" in
        '' | -*) return ;;
    esac
    local name=$1 step=${1##*/EDVR-}
    if [ "$step" != "$1" ] && [ ! -e "$1.index" ] && [ -e "${1%/*}/model.ckpt-$step.index" ]; then
        name=${1%/*}/model.ckpt-$step
    fi
    # shellcheck disable=SC2034
    chosen=(--checkpoint="$name") rest=("${@:2}")
}

# take_device [DEVICE_ID [CHECKPOINT]] [FLAGS...]: take_checkpoint, and the environment of a program that uses one device
# alone where one is named. DEVICE names the kind of device.
take_device() {
    local named=
    case "${1:-}" in
        [0-9]*) export DEVICE_ID=$1; named=1; shift ;;
    esac
    take_checkpoint "$@"
    if [ -n "$named" ]; then chosen+=(--num_devices=1); fi
    if [ -n "${DEVICE:-}" ]; then chosen+=(--device="$DEVICE"); fi
}
