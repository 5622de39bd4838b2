"""TF_CONFIG: the rank of this process in a job on several CPU or GPU processes."""
from __future__ import annotations

import json
import os
from typing import Any, Iterator

from data_tools.base.errors import UserError
from edvr.launch.plan import Environment

VARIABLE = 'TF_CONFIG'


def environment(workers: list[str], rank: int) -> Environment:
    """Returns the variable of one rank.

    Args:
      workers: host:port of all ranks, in order of rank.
      rank: the number of the process.
    """
    return {VARIABLE: json.dumps(dict(cluster=dict(worker=workers), task=dict(type='worker', index=rank)))}


def has_cluster() -> bool:
    """Returns whether TF_CONFIG says more than that there is no cluster, as platforms do on single hosts."""
    text = os.environ.get(VARIABLE, '').strip()
    try:
        values = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return True   # `problems` reports it
    return not isinstance(values, dict) or bool(values.get('cluster')) or ('cluster' not in values and bool(values))


def without_cluster() -> Environment:
    """Returns the change of the environment that removes a TF_CONFIG without a cluster, which may be unreadable."""
    return {VARIABLE: None} if VARIABLE in os.environ and not has_cluster() else {}


def problems() -> Iterator[str]:
    """Yields a text for each thing wrong with TF_CONFIG."""
    text = os.environ.get(VARIABLE)
    if text is None or (text and not has_cluster()):
        return
    try:
        values = json.loads(text)
        tasks = _tasks(values['cluster'])
        task = (values['task']['type'], int(values['task']['index']))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        yield ('TF_CONFIG is %r; it must be JSON such as {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
               '{"type": "worker", "index": 0}}, or unset it' % text)
        return
    wrong = sorted({kind for kind, _ in tasks} - {'chief', 'worker'})
    if wrong:
        yield 'TF_CONFIG has tasks of type %s; only chief and worker are used' % ', '.join(wrong)
    elif task not in tasks:
        yield ('TF_CONFIG says this process is %s %d, which its cluster does not have (it has %s)'
               % (task + (', '.join('%s %d' % item for item in tasks),)))


def _tasks(cluster: dict[str, Any]) -> list[tuple[str, int]]:
    return [(kind, index) for kind in sorted(cluster) for index in range(len(cluster[kind]))]   # chief before worker


def rank_and_size() -> tuple[int, int]:
    """Returns rank and size of this process; (0, 1) without TF_CONFIG. The chief, or else worker 0, has rank 0."""
    wrong = list(problems())
    if wrong:
        raise UserError('; '.join(wrong))
    if not has_cluster():
        return 0, 1
    values = json.loads(os.environ[VARIABLE])
    tasks = _tasks(values['cluster'])
    return tasks.index((values['task']['type'], int(values['task']['index']))), len(tasks)


def address_of_rank_0() -> tuple[str, int]:
    """Returns (host, port) of rank 0 in the cluster of TF_CONFIG."""
    cluster = json.loads(os.environ[VARIABLE])['cluster']
    host, _, port = (cluster.get('chief') or cluster['worker'])[0].rpartition(':')
    return host, int(port)
