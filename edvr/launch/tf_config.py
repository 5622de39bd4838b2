"""TF_CONFIG: the rank of this process in a job on several CPU or GPU hosts."""
import json
import os

from data_tools.base.errors import UserError


def problems():
    """Yields a text for each thing wrong with TF_CONFIG."""
    text = os.environ.get('TF_CONFIG')
    if text is None:
        return
    try:
        values = json.loads(text)
        tasks = _tasks(values['cluster'])
        task = (values['task']['type'], int(values['task']['index']))
    except (ValueError, KeyError, TypeError, AttributeError):
        yield ('TF_CONFIG is %r; it must be JSON such as {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": '
               '{"type": "worker", "index": 0}}, or unset it' % text)
        return
    wrong = sorted({kind for kind, _ in tasks} - {'chief', 'worker'})
    if wrong:
        yield 'TF_CONFIG has tasks of type %s; only chief and worker are used' % ', '.join(wrong)
    elif task not in tasks:
        yield ('TF_CONFIG says this process is %s %d, which its cluster does not have (it has %s)'
               % (task + (', '.join('%s %d' % item for item in tasks),)))


def _tasks(cluster):
    return [(kind, index) for kind in sorted(cluster) for index in range(len(cluster[kind]))]   # chief before worker


def rank_and_size():
    """`(rank, size)` of this process, ints; (0, 1) without TF_CONFIG. The chief, or else worker 0, has rank 0."""
    wrong = list(problems())
    if wrong:
        raise UserError('; '.join(wrong))
    text = os.environ.get('TF_CONFIG')
    if text is None:
        return 0, 1
    values = json.loads(text)
    tasks = _tasks(values['cluster'])
    return tasks.index((values['task']['type'], int(values['task']['index']))), len(tasks)


def size():
    return rank_and_size()[1]
