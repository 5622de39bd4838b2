"""The plan of a process: it trains alone, is one rank of a job, or starts the ranks."""
import typing

from edvr.launch import addresses


class Plan(typing.NamedTuple):
    """The plan of this process.

    environments: {rank: {variable: value, or None to unset it}} of the processes to start here; empty where this
    process is the one that trains. changes: the same for this process. notes: list of str, lines to print.
    """
    environments: dict
    changes: dict
    notes: list


# the uses of the ports from --port on: the launchers of several hosts, all ranks, each worker of a host
LAUNCHERS, RANKS, WORKERS = 0, 1, 2


def hosts_of(ranks):
    """(names of the hosts of a RanksConfig, place of this host among them)."""
    if len(ranks.hosts) < 2:
        return [ranks.hosts[0] if ranks.hosts else 'localhost'], 0
    return list(ranks.hosts), addresses.this_host(ranks.hosts, ranks.this_host, '--hosts')


def equal_recipe(asked, found, batch_size):
    """The options that train with the same whole batch on fewer devices, such as '--num_devices=2 --batch_size=16'.

    Args:
      asked: int, number of devices in the given options.
      found: int, number of existing devices, at least 1; some are not used if they cannot share the batch equally.
      batch_size: int, samples per step on each device in the given options.
    """
    whole = asked * batch_size
    count = max(count for count in range(1, found + 1) if whole % count == 0)
    return '--num_devices=%d --batch_size=%d' % (count, whole // count)


def plural(count, noun):
    return '%d %s%s' % (count, noun, '' if count == 1 else 'es' if noun.endswith('s') else 's')
