"""The variables CM_*: a job on NPUs without a rank table, as ascend-operator describes it to TensorFlow."""
from __future__ import annotations

import os
from typing import NamedTuple

from data_tools.base.errors import UserError
from edvr.launch import plan

_NEEDED = ('CM_CHIEF_IP', 'CM_CHIEF_PORT', 'CM_WORKER_SIZE', 'CM_LOCAL_WORKER', 'CM_RANK')
ALL = (*_NEEDED, 'CM_CHIEF_DEVICE', 'CM_WORKER_IP')


class Cluster(NamedTuple):
    """Holds the job that the variables describe.

    Attributes:
      hosts: number of pods.
      place: number of this one.
      devices: cards of each.
      chief: (address, port) at which the others reach the first one.
      own_address: the address of this one, or ''.
    """
    hosts: int
    place: int
    devices: int
    chief: tuple[str, int]
    own_address: str


def read(count: int, batch_size: int) -> Cluster | None:
    """Returns the job of the environment, or None if it has no such variable.

    Args:
      count: --num_devices; 0 means all.
      batch_size: samples per step on each card, for advice.
    Raises:
      UserError: variables are absent or wrong, or describe another job than the options.
    """
    if not any(name in os.environ for name in ALL):
        return None
    advice = 'let ascend-operator set all of them, or unset them and give RANK_TABLE_FILE or --hosts'
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UserError('the environment has %s, but not %s: %s' % (
            ', '.join(name for name in ALL if name in os.environ), ', '.join(missing), advice))
    size, devices, port = _number('CM_WORKER_SIZE', 1), _number('CM_LOCAL_WORKER', 1), _number('CM_CHIEF_PORT', 1)
    place = _number('CM_RANK', 0)
    if size % devices or place >= size // devices:
        raise UserError('CM_WORKER_SIZE=%d, CM_LOCAL_WORKER=%d and CM_RANK=%d do not fit: the cards of the job are '
                        'those of each pod times the pods, which CM_RANK counts from 0; %s'
                        % (size, devices, place, advice))
    if count not in (0, devices):
        raise UserError('--num_devices=%d, but CM_LOCAL_WORKER gives %s to this host; %s' % (
            count, plan.plural(devices, 'card'), plan.all_devices(count, devices, batch_size)))
    return Cluster(size // devices, place, devices, (os.environ['CM_CHIEF_IP'], port),
                   os.environ.get('CM_WORKER_IP', ''))


def _number(name: str, low: int) -> int:
    text = os.environ[name]
    if not text.isdigit() or int(text) < low or len(text) > 9:
        raise UserError('the environment variable %s is %r; it must be a whole number, at least %d' % (name, text, low))
    return int(text)
