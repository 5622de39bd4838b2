"""Checks before a run starts; all problems are reported together."""
import json
import os

from data_tools.base.errors import UserError
from edvr.devices import devices, npu
from edvr.launch import rank_table, tf_config

CHECKPOINT_VARIABLES = ('LOCAL_CHECKPOINT_DIR', 'RESTORE_FROM')
# of jobs without a rank table: the adapter refuses them beside RANK_SIZE or RANK_TABLE_FILE
CLUSTER_VARIABLES = ('CM_CHIEF_IP', 'CM_CHIEF_PORT', 'CM_CHIEF_DEVICE', 'CM_WORKER_IP', 'CM_WORKER_SIZE')


def check(config, counts=None, readings=()):
    """Raises UserError listing every problem of the environment, of the options with each other, and of the input.

    Args:
      config: RuntimeConfig.
      counts: {flag: int}, the numbers of steps that must be multiples of iterations_per_loop; 0 means off.
      readings: functions(rank, size) that check the input and raise UserError. Where the environment does not define
        rank and size, they are called for rank 0 of 1.
    """
    found = problems(config, counts)
    rank, size = (0, 1) if found else devices.rank_and_size(config)
    for reading in readings:
        found += _failures(lambda reading=reading: reading(rank, size))
    if len(found) == 1:
        raise UserError(found[0])
    if found:
        raise UserError('%d problems, and nothing was started:\n%s'
                        % (len(found), '\n'.join('  - ' + text for text in found)))


def problems(config, counts=None):
    """The texts of `check`: list of str."""
    found = _loop_problems(config, counts or {})
    if config.device == 'npu':
        found += _failures(lambda: npu.require(config)) + _npu_environment() + _npu_paths(config)
    else:
        found += list(tf_config.problems())
        found += _failures(lambda: devices.gpus(config)) if config.device == 'gpu' else []
        if not found and config.cpu_replicas > 1 and tf_config.size() > 1:
            found.append('--cpu_replicas=%d together with TF_CONFIG: each of its processes has one replica'
                         % config.cpu_replicas)
    return found


def _failures(action):
    try:
        action()
    except UserError as error:
        return [str(error)]
    return []


def _loop_problems(config, counts):
    loop = config.iterations_per_loop
    return ['--%s=%d is not a multiple of --iterations_per_loop=%d: nothing can happen inside a loop; use %d'
            % (name, count, loop, -(-count // loop) * loop)
            for name, count in sorted(counts.items()) if count % loop]


def _npu_environment():
    found = []

    def number(name, low=0, hint=''):
        """The variable as int, or None after a problem with it was recorded."""
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
    leftovers = [name for name in CLUSTER_VARIABLES if name in os.environ]
    if leftovers:
        found.append('set in the environment: %s; the adapter takes these and RANK_SIZE for two jobs at once. Ranks '
                     'come from the rank table here: unset %s' % (', '.join(leftovers), ' '.join(leftovers)))
    if os.environ.get('POD_NAME') and os.environ.get('RANK_TABLE_FILE'):
        found.append('the environment variable POD_NAME is set (%r): the adapter would look for this name in the rank '
                     'table, and not for RANK_ID; unset it for this process' % os.environ['POD_NAME'])
    if 'TF_CONFIG' in os.environ:
        found.append('the environment variable TF_CONFIG is set (%r): on NPU ranks come from the rank table; unset it'
                     % os.environ['TF_CONFIG'])
    return found


def _rank_table_problems(size, rank, device):
    path = os.environ.get('RANK_TABLE_FILE')
    if path is None:
        if size is None or size == 1:
            return []
        return ['the environment variable RANK_TABLE_FILE is not set, but RANK_SIZE is %d: without it the processes '
                'cannot exchange gradients' % size]
    try:
        ranks = rank_table.read(path)
    except UserError as error:
        return ['RANK_TABLE_FILE: %s' % error]
    found = []
    if size is not None and len(ranks) != size:
        found.append('RANK_SIZE is %d, but the rank table %s has %d devices; they must be equal'
                     % (size, path, len(ranks)))
    if rank is not None and device is not None and rank < len(ranks) and ranks[rank].device_id != device:
        found.append('DEVICE_ID is %d, but the rank table %s gives rank %d device %d'
                     % (device, path, rank, ranks[rank].device_id))
    return found


def _npu_paths(config):
    # the adapter ends the process when they are missing
    found = ['--%s=%s is not a directory; make it first' % (name, path)
             for name, path in (('dump_path', config.dump_path),
                                ('op_compiler_cache_dir', config.op_compiler_cache_dir))
             if path and not os.path.isdir(path)]
    output = json.loads(config.profiling)['output'] if config.profiling else ''
    if output and not os.path.isdir(output):
        found.append('--profiling: its "output" %s is not a directory; make it first' % output)
    return found + ['--%s=%s is not a file' % (name, path)
                    for name, path in (('modify_mixlist', config.modify_mixlist),
                                       ('op_precision_mode', config.op_precision_mode))
                    if path and not os.path.isfile(path)]
