"""The processes of a job on one host: which ranks there are, and with what environment each starts."""
import collections
import json
import os
import socket
import sys

from data_tools.base.errors import UserError
from edvr.runtime.ranks import rank_table
from edvr.runtime.ranks.processes import run_together

Process = collections.namedtuple('Process', 'rank environment')


def run(config, arguments):
    """Runs the job that a LaunchConfig describes; `arguments` (list of str) go to the program. Returns an exit code."""
    processes = plan(config)
    command = [sys.executable, '-m', config.program] + arguments + ['--device=' + config.device]
    print('%d process%s: %s' % (len(processes), '' if len(processes) == 1 else 'es', ' '.join(command)), flush=True)
    return run_together(
        command, {process.rank: process.environment for process in processes}, config.logs, config.grace,
        bind_cores=config.bind_cores)


def plan(config):
    """The processes of this host.

    Args:
      config: LaunchConfig.
    Returns:
      list of Process(rank, {variable: value}); a value None means that the variable must not be set.
    Raises:
      UserError: when devices and ranks do not fit each other.
    """
    return _npu_plan(config) if config.device == 'npu' else _cluster_plan(config)


def _npu_plan(config):
    if config.rank_table:
        ranks, size = _local_ranks(config)
    else:
        ranks, size = [(0, (config.device_ids or (0,))[0])], 1
    # POD_NAME would replace RANK_ID as identity, and the logical device id the physical one
    common = dict(JOB_ID=os.environ.get('JOB_ID') or 'edvr', RANK_SIZE=str(size), POD_NAME=None, ASCEND_DEVICE_ID=None,
                  RANK_TABLE_FILE=os.path.abspath(config.rank_table) if config.rank_table else None)
    return [Process(rank, dict(common, RANK_ID=str(rank), DEVICE_ID=str(device))) for rank, device in ranks]


def _local_ranks(config):
    """([(rank, device id)] of this host, number of ranks of the whole job)."""
    table = rank_table.read(config.rank_table)
    servers = sorted({rank.server_id for rank in table})
    server = config.server_id or servers[0]
    if server not in servers or (len(servers) > 1 and not config.server_id):
        raise UserError('--server_id=%s: the rank table %s has the servers %s; it must be the one that is this host'
                        % (config.server_id, config.rank_table, ', '.join(servers)))
    local = [(rank.rank_id, rank.device_id) for rank in table if rank.server_id == server]
    missing = sorted(set(config.device_ids) - {device for _, device in local})
    if missing:
        raise UserError('--device_ids: device %d is not in the rank table %s, which has %s on server %s' % (
            missing[0], config.rank_table, ', '.join(str(device) for _, device in local), server))
    if config.device_ids:
        local = [(rank, device) for rank, device in local if device in config.device_ids]
    if config.ranks not in (0, len(local)):
        raise UserError('--ranks=%d, but the rank table %s has %d devices on server %s'
                        % (config.ranks, config.rank_table, len(local), server))
    return local, len(table)


def _cluster_plan(config):
    count = config.ranks or len(config.device_ids) or len(config.addresses) - config.first_rank or 1
    if config.addresses and config.first_rank + count > len(config.addresses):
        raise UserError('--first_rank=%d and %d processes here do not fit %d --addresses'
                        % (config.first_rank, count, len(config.addresses)))
    addresses = list(config.addresses) or ['localhost:%d' % port for port in free_ports(count)]
    processes = []
    for index in range(count):
        rank, environment = config.first_rank + index, dict(TF_CONFIG=None)
        if len(addresses) > 1:
            environment['TF_CONFIG'] = json.dumps(
                dict(cluster=dict(worker=addresses), task=dict(type='worker', index=rank)))
        if config.device == 'gpu':
            environment['CUDA_VISIBLE_DEVICES'] = str((config.device_ids or range(count))[index])
        processes.append(Process(rank, environment))
    return processes


def free_ports(count):
    """Ports that nobody listens on right now, list of int."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(('localhost', 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
