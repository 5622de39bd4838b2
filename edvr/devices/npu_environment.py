"""The environment variables of a rank on an NPU."""
from __future__ import annotations

import os

from data_tools.base.errors import UserError
from edvr.launch import cm_variables, rank_table, tf_config

CHECKPOINT_VARIABLES = ('LOCAL_CHECKPOINT_DIR', 'RESTORE_FROM')


def rank_and_size() -> tuple[int, int]:
    """Returns RANK_ID and RANK_SIZE; one device needs no RANK_ID. Raises UserError if they are wrong."""
    size = _variable('RANK_SIZE')
    rank = _variable('RANK_ID', '0' if size == 1 else None)
    if rank >= size:
        raise UserError('the environment variable RANK_ID is %d and RANK_SIZE %d: ranks count from 0, so it must '
                        'be below' % (rank, size))
    return rank, size


def _variable(name: str, default: str | None = None) -> int:
    """Returns a variable, at least 0. Raises UserError naming it and its value."""
    text = os.environ.get(name, default)
    if text is None or not text.isdigit():
        raise UserError('the environment variable %s is %s; --device=npu needs a number there: start through '
                        'scripts/run_1p_train.sh or scripts/run_8p_train.sh, which set it'
                        % (name, 'not set' if text is None else repr(text)))
    return int(text)


def problems() -> list[str]:
    """Returns a text for each variable that is wrong or does not fit another one."""
    found: list[str] = []

    def number(name: str, low: int = 0, hint: str = '') -> int | None:
        """Returns the variable, or None after a problem with it was recorded."""
        text = os.environ.get(name)
        if text is not None and text.isdigit() and int(text) >= low:
            return int(text)
        found.append('the environment variable %s is %s; it must be a whole number, at least %d%s'
                     % (name, 'not set' if text is None else repr(text), low, hint))
        return None

    if not os.environ.get('JOB_ID'):
        found.append('the environment variable JOB_ID is not set; the adapter needs any text there, such as 10087')
    size = number('RANK_SIZE', 1, ': the number of processes, 1 for one device')
    # the logical id wins over the physical one
    device_variable = 'ASCEND_DEVICE_ID' if 'ASCEND_DEVICE_ID' in os.environ else 'DEVICE_ID'
    several = size is not None and size > 1
    device = number(device_variable) if several or device_variable in os.environ else None
    rank = number('RANK_ID') if several or 'RANK_ID' in os.environ else None
    if rank is not None and size is not None and rank >= size:
        found.append('the environment variable RANK_ID is %d, but RANK_SIZE is %d: it must be below' % (rank, size))
    found += _rank_table_problems(size, rank, device if device_variable == 'DEVICE_ID' else None)
    for name in CHECKPOINT_VARIABLES:
        if os.environ.get(name):
            found.append('the environment variable %s is set (%r): the adapter would silently start from those '
                         'weights; unset it, and use --init_from' % (name, os.environ[name]))
    leftovers = [name for name in cm_variables.ALL if name in os.environ]
    if leftovers:
        found.append('set in the environment: %s; the adapter takes these and RANK_SIZE for two jobs at once. Ranks '
                     'come from the rank table here: unset %s' % (', '.join(leftovers), ' '.join(leftovers)))
    if os.environ.get('POD_NAME') and os.environ.get('RANK_TABLE_FILE'):
        found.append('the environment variable POD_NAME is set (%r): the adapter would look for this name in the rank '
                     'table, and not for RANK_ID; unset it for this process' % os.environ['POD_NAME'])
    if tf_config.has_cluster() or os.environ.get(tf_config.VARIABLE) == '':
        found.append('the environment variable TF_CONFIG is set (%r): on NPU ranks come from the rank table; unset it'
                     % os.environ['TF_CONFIG'])
    return found


def _rank_table_problems(size: int | None, rank: int | None, device: int | None) -> list[str]:
    path = os.environ.get('RANK_TABLE_FILE')
    if path is None:
        if size is None or size == 1:
            return []
        return ['the environment variable RANK_TABLE_FILE is not set, but RANK_SIZE is %d: without it the processes '
                'cannot exchange gradients' % size]
    try:
        table = rank_table.load(path)
    except UserError as error:
        return ['RANK_TABLE_FILE: %s' % error]
    found, ranks = [], table.ranks
    if not table.for_hccl or os.path.isdir(path):
        found.append('RANK_TABLE_FILE is %s, which HCCL does not read: it must be a file of template 1 that lists each '
                     'server_id once and whose name ends in .json; without RANK_ID the program starts the ranks and '
                     'writes such a file for them' % path)
    if size is not None and len(ranks) != size:
        found.append('RANK_SIZE is %d, but the rank table %s has %d devices; they must be equal'
                     % (size, path, len(ranks)))
    if rank is not None and device is not None and rank < len(ranks) and ranks[rank].device_id != device:
        found.append('DEVICE_ID is %d, but the rank table %s gives rank %d device %d'
                     % (device, path, rank, ranks[rank].device_id))
    return found
