"""Ranks that share work without talking to each other: a process for each device of this host."""
import os

from data_tools.base.errors import UserError
from edvr.launch import device_choice, npu_cards
from edvr.launch.plan import Plan, plural

_NAMES = ('ASCEND_DEVICE_ID', 'DEVICE_ID')   # variables that name the NPU of a process


def plan(device, host):
    """Plans the processes of a restoration: this process, with changes to its environment, or one for each device.

    Args:
      device: 'npu', 'gpu' or 'cpu'. host: HostConfig.
    Returns:
      plan.Plan; without environments for a single device.
    Raises:
      UserError: there are fewer devices than requested.
    """
    return {'npu': _npus, 'gpu': _gpus, 'cpu': _processes}[device](host)


def _npus(host):
    # the adapter sees each process as a separate job
    common = dict(JOB_ID=os.environ.get('JOB_ID') or 'edvr', RANK_ID='0', RANK_SIZE='1', RANK_TABLE_FILE=None,
                  POD_NAME=None)
    if host.num_devices < 2 and not host.device_ids and any(name in os.environ for name in _NAMES):
        return Plan({}, common, [])
    cards = npu_cards.choose(host.num_devices, host.device_ids, lambda found: _advice(len(found)))
    environments = {number: dict(common, DEVICE_ID=str(card), ASCEND_DEVICE_ID=None)
                    for number, card in enumerate(cards)}
    return _of(environments, '%s: %s' % (plural(len(cards), 'NPU'), ', '.join(map(str, cards))))


def _gpus(host):
    found = device_choice.gpu_count()
    if host.num_devices > found > 0:
        raise UserError('--num_devices=%d, but TensorFlow sees %s on this host (CUDA_VISIBLE_DEVICES can hide some); %s'
                        % (host.num_devices, plural(found, 'GPU'), _advice(found)))
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = visible.split(',') if visible else list(map(str, range(found)))
    names = names[:host.num_devices or found]
    return _of({number: dict(CUDA_VISIBLE_DEVICES=name) for number, name in enumerate(names)},
               '%s: %s' % (plural(len(names), 'GPU'), ', '.join(names)))


def _processes(host):
    count = host.num_devices or 1
    return _of({number: {} for number in range(count)}, '%s on this CPU, which share its %s' % (
        plural(count, 'process'), plural(len(os.sched_getaffinity(0)), 'core')))


def _of(environments, note):
    if len(environments) < 2:
        return Plan({}, environments.get(0, {}), [])
    return Plan(environments, {}, [note])


def _advice(found):
    return 'give --num_devices=%d, or 0 for all' % found
