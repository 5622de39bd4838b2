"""Checks that all ranks of a job have the same options; differences are reported before anything is computed."""
import os
import socket
from typing import Any, Dict, List, Tuple

from data_tools.base.errors import UserError
from edvr.launch import rendezvous

MOST = 8   # differences that an error shows


def check(values: Dict[str, Any], rank: int, size: int, address: Tuple[str, int], timeout: float) -> int:
    """Compares the values of all ranks.

    Args:
      values: {name: value that JSON can express} of this rank.
      rank: the number of this rank.
      size: the number of ranks.
      address: (host, port) at which rank 0 listens.
      timeout: seconds to wait for all ranks.
    Returns:
      the number of hosts.
    Raises:
      UserError: on every rank, with the differing options, both values, and the hosts.
    """
    mine = dict(host=socket.gethostname(), process=os.getpid(), values=values)
    everyone = rendezvous.all_gather(mine, rank, size, address, timeout)
    for number, other in enumerate(everyone):
        wrong = _differences(everyone[0]['values'], other['values'])
        if wrong:
            more = '; and %d more' % (len(wrong) - MOST) if len(wrong) > MOST else ''
            raise UserError('rank %d (%s) and rank 0 (%s) do not train the same: %s%s. Start all ranks with the same '
                            'command and the same flagfiles, on the same data'
                            % (number, other['host'], everyone[0]['host'], '; '.join(wrong[:MOST]), more))
    return len({other['host'] for other in everyone})


def _differences(first: Dict[str, Any], other: Dict[str, Any]) -> List[str]:
    return ['%s is %s on it and %s on rank 0' % (name, _shown(other, name), _shown(first, name))
            for name in sorted(set(first) | set(other)) if first.get(name, ...) != other.get(name, ...)]


def _shown(values: Dict[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else 'unknown'
