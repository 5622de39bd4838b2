# shellcheck shell=bash
# Sourced by the run_*.sh scripts, with $root set: the environment of an Ascend host.
# ASCEND_SET_ENV: CANN's script that tells where its libraries are, when it is not at one of the usual places.
for file in "${ASCEND_SET_ENV:-}" /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/nnae/set_env.sh \
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

# take_device DEVICE_ID: the environment of a program that uses one device alone; sets DEVICE where the user did not.
take_device() {
    if [ -z "${DEVICE:-}" ]; then
        if compgen -G '/dev/davinci[0-9]*' > /dev/null; then DEVICE=npu; else DEVICE=cpu; fi
    fi
    export DEVICE_ID=$1 RANK_ID=0 RANK_SIZE=1 JOB_ID=${JOB_ID:-10385}
}
