"""The plan of a process: it works alone, is one rank of a job, or starts the processes of this host."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Dict, NamedTuple, Optional

from edvr.launch import addresses

if TYPE_CHECKING:
    from edvr.config import RanksConfig

# {variable: value, or None to unset it}
Environment = Dict[str, Optional[str]]


class Plan(NamedTuple):
    """The plan of this process.

    Attributes:
      environments: {number: Environment} of the processes to start here; empty if this process does the work.
      changes: Environment, the changes to that of this process.
      notes: list of str, lines to print.
    """
    environments: dict[int, Environment]
    changes: Environment
    notes: list[str]


# the uses of the ports from --port on: the launchers of several hosts, all ranks, each worker of a host
LAUNCHERS, RANKS, WORKERS = 0, 1, 2


def apply(changes: Environment) -> None:
    """Changes the environment of this process."""
    for name, value in changes.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def of_workers(environments: dict[int, Environment], note: str) -> Plan:
    """Returns the Plan of processes that do not wait for each other; a single one is this process."""
    if len(environments) < 2:
        return Plan({}, environments.get(0, {}), [])
    return Plan(environments, {}, [note])


def hosts_of(ranks: RanksConfig) -> tuple[list[str], int]:
    """Returns the names of the hosts of a job, and the place of this host among them."""
    if len(ranks.hosts) < 2:
        return [ranks.hosts[0] if ranks.hosts else 'localhost'], 0
    return list(ranks.hosts), addresses.this_host(ranks.hosts, ranks.this_host, '--hosts')


def equal_recipe(asked: int, found: int, batch_size: int) -> str:
    """Returns the options that train with the same whole batch on fewer devices: '--num_devices=2 --batch_size=16'.

    Args:
      asked: number of devices in the given options.
      found: number of existing devices, at least 1; some are not used if they cannot share the batch equally.
      batch_size: samples per step on each device in the given options.
    """
    whole = asked * batch_size
    count = max(count for count in range(1, found + 1) if whole % count == 0)
    return '--num_devices=%d --batch_size=%d' % (count, whole // count)


def all_devices(asked: int, found: int, batch_size: int) -> str:
    """Returns the advice for a training that has to use all `found` devices; arguments are those of `equal_recipe`."""
    whole = asked * batch_size
    if whole % found:
        return 'give --num_devices=%d and a --batch_size for each, since %d samples cannot be shared equally' % (
            found, whole)
    return 'the same whole batch is --num_devices=%d --batch_size=%d' % (found, whole // found)


def fewer(found: int) -> str:
    """Returns the advice for a restoration that requests more than the `found` devices of the host."""
    return 'give --num_devices=%d, or 0 for all' % found


def plural(count: int, noun: str) -> str:
    """Returns '1 rank', '2 ranks', '2 processes'."""
    return '%d %s%s' % (count, noun, '' if count == 1 else 'es' if noun.endswith('s') else 's')
