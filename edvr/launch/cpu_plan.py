"""Processes on CPUs: ranks that find each other through TF_CONFIG, and processes that share a restoration."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edvr.launch import addresses, plan, tf_config
from edvr.launch.plan import Plan, plural

if TYPE_CHECKING:
    from edvr.config import RanksConfig


def of_ranks(num_devices: int, ranks: RanksConfig) -> Plan:
    """Plans the ranks of a job: each is a process.

    Args:
      num_devices: ranks on each host; 0 means one.
      ranks: the hosts.
    Raises:
      UserError: this host is not one of the hosts, or a port is in use.
    """
    here = num_devices or 1
    hosts, place = plan.hosts_of(ranks)
    if here * len(hosts) == 1:
        return Plan({}, {}, [])
    if len(hosts) == 1:
        workers = ['localhost:%d' % port for port in addresses.free_ports(here)]
    else:
        ports = [ranks.port + plan.WORKERS + index for index in range(here)]
        addresses.require_free(ports)
        workers = ['%s:%d' % (host, port) for host in hosts for port in ports]
    first = place * here
    environments = {rank: tf_config.environment(workers, rank) for rank in range(first, first + here)}
    return Plan(environments, {}, ['%s: slow, for tests of a job only' % _on_this_cpu(here, 'rank')])


def of_workers(num_devices: int) -> Plan:
    """Plans `num_devices` processes that share a restoration; 0 means one."""
    count = num_devices or 1
    return plan.of_workers({number: {} for number in range(count)}, _on_this_cpu(count, 'process'))


def _on_this_cpu(count: int, noun: str) -> str:
    return '%s on this CPU, which share its %s' % (plural(count, noun), plural(len(os.sched_getaffinity(0)), 'core'))
