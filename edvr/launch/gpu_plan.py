"""Processes on GPUs.

In training one process drives all GPUs of a host (MirroredStrategy): its replicas exchange gradients inside the process
and share one input pipeline, and a single host needs no ports and no rank numbers. Several hosts have one process each
(MultiWorkerMirroredStrategy), which find each other through TF_CONFIG. In restoring each GPU has a process.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

from data_tools.base.errors import UserError
from edvr.launch import addresses, plan, tf_config
from edvr.launch.plan import Plan, plural

if TYPE_CHECKING:
    from edvr.config import RanksConfig


def of_ranks(num_devices: int, ranks: RanksConfig, batch_size: int, found: int) -> Plan:
    """Plans the ranks of a job: one on each host.

    Args:
      num_devices: GPUs of each host to use; 0 means all.
      ranks: the hosts.
      batch_size: samples per step on each GPU, for advice.
      found: GPUs that TensorFlow sees on this host.
    Raises:
      UserError: there are fewer GPUs, this host is not one of the hosts, or a port is in use.
    """
    _require(num_devices, found, lambda: 'the same whole batch is %s' % plan.equal_recipe(num_devices, found,
                                                                                          batch_size))
    hosts, place = plan.hosts_of(ranks)
    if len(hosts) == 1:
        return Plan({}, {}, [])
    addresses.require_free([ranks.port + plan.WORKERS])
    workers = ['%s:%d' % (host, ranks.port + plan.WORKERS) for host in hosts]
    return Plan({}, tf_config.environment(workers, place), ['host %d of %d' % (place, len(hosts))])


def of_workers(num_devices: int, found: int) -> Plan:
    """Plans the processes that share a restoration: one for each GPU. The arguments are those of `of_ranks`."""
    _require(num_devices, found, lambda: plan.fewer(found))
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = visible.split(',') if visible else list(map(str, range(found)))
    names = names[:num_devices or found]
    return plan.of_workers({number: dict(CUDA_VISIBLE_DEVICES=name) for number, name in enumerate(names)},
                           '%s: %s' % (plural(len(names), 'GPU'), ', '.join(names)))


def _require(count: int, found: int, advice: Callable[[], str]) -> None:
    if count > found > 0:
        raise UserError('--num_devices=%d, but TensorFlow sees %s on this host (CUDA_VISIBLE_DEVICES can hide some); %s'
                        % (count, plural(found, 'GPU'), advice()))
