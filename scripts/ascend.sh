# shellcheck shell=bash
# Sets the environment of an Ascend host. The run_*.sh scripts source this file, with $root set.
# ASCEND_SET_ENV: path of CANN's environment script, if it is not in one of the usual folders. TFPLUGIN_INSTALL_PATH: folder
# of the wheel of the TensorFlow adapter, if it is not on PYTHONPATH yet.
if [ -n "${ASCEND_SET_ENV:-}" ] && [ ! -f "$ASCEND_SET_ENV" ]; then
    printf 'error: ASCEND_SET_ENV is %s, which is not a file\n' "$ASCEND_SET_ENV" >&2
    exit 1
fi
# newer releases of CANN are in `cann`, older ones in `ascend-toolkit` or `nnae`
for file in "${ASCEND_SET_ENV:-}" /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh \
        /usr/local/Ascend/nnae/set_env.sh "${HOME:-}/Ascend/cann/set_env.sh" \
        "${HOME:-}/Ascend/ascend-toolkit/set_env.sh"; do
    if [ -f "$file" ]; then
        set +eu   # CANN's script fails with these options
        # shellcheck disable=SC1090
        . "$file"
        set -eu
        break
    fi
done
# the TensorFlow plugin has a separate script, beside the toolkit
for file in /usr/local/Ascend/tfplugin/set_env.sh "${HOME:-}/Ascend/tfplugin/set_env.sh"; do
    if [ -f "$file" ]; then
        set +eu
        # shellcheck disable=SC1090
        . "$file"
        set -eu
        break
    fi
done
# since release 8.0 the plugin is a wheel, installed in a folder of the user's choice
if [ -n "${TFPLUGIN_INSTALL_PATH:-}" ]; then
    if [ ! -d "$TFPLUGIN_INSTALL_PATH" ]; then
        printf 'error: TFPLUGIN_INSTALL_PATH is %s, which is not a folder: install the wheel of the adapter there\n' \
            "$TFPLUGIN_INSTALL_PATH" >&2
        exit 1
    fi
    export PYTHONPATH="$TFPLUGIN_INSTALL_PATH${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="${root:?}${PYTHONPATH:+:$PYTHONPATH}"

# take_checkpoint [CHECKPOINT] [FLAGS...]: sets the arrays `chosen`, the flag of the checkpoint if one is given, and
# `rest`. A name of the older port, DIRECTORY/EDVR-600000, means this port's checkpoint of that step.
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

# take_device [DEVICE_ID [CHECKPOINT]] [FLAGS...]: as take_checkpoint; if DEVICE_ID is given, also sets the environment of a
# program that uses only this device. DEVICE is the kind of device.
take_device() {
    local named=
    case "${1:-}" in
        [0-9]*) export DEVICE_ID=$1; named=1; shift ;;
    esac
    take_checkpoint "$@"
    if [ -n "$named" ]; then chosen+=(--num_devices=1); fi
    if [ -n "${DEVICE:-}" ]; then chosen+=(--device="$DEVICE"); fi
}
