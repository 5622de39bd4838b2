"""Makes this process a rank, or starts the ranks of this host: one command for any number of devices and hosts."""
import json
import os
import sys

from data_tools.base.errors import UserError
from edvr.launch import cluster_plan, device_choice, npu_plan, rank_table
from edvr.launch.plan import RANKS, Plan
from edvr.launch.processes import run_together

LAUNCHED = 'EDVR_LAUNCHED'   # set in the environment of the ranks that `run` has started
_SHARE_GRACE = 10.           # seconds for ranks that have nothing to save but the frame at hand


def plan(runtime, ranks, batch_size, log_dir):
    """Plans this process: it trains, trains with a changed environment, or starts the ranks of this host.

    A process whose environment says which rank it is (RANK_ID on an NPU, else TF_CONFIG) starts no others.

    Args:
      runtime: RuntimeConfig. ranks: RanksConfig.
      batch_size: int, samples a step on each device, for advice.
      log_dir: str, where a rank table is written.
    Returns:
      plan.Plan.
    Raises:
      UserError: devices, hosts and ranks do not match.
    """
    if 'RANK_ID' in os.environ if runtime.device == 'npu' else 'TF_CONFIG' in os.environ:
        return Plan({}, {}, _notes_of_a_rank(runtime))
    if runtime.device == 'npu':
        return npu_plan.on_npu(runtime, ranks, batch_size, log_dir)
    found = _on_cluster(runtime, ranks, batch_size)
    if 'RANK_ID' in os.environ:
        found.notes.append('RANK_ID=%s is passed over: it is for --device=npu' % os.environ['RANK_ID'])
    return found


def _on_cluster(runtime, ranks, batch_size):
    if runtime.device == 'gpu':
        return cluster_plan.on_gpu(runtime, ranks, batch_size, device_choice.gpu_count())
    return cluster_plan.on_cpu(runtime, ranks)


def _notes_of_a_rank(runtime):
    if LAUNCHED in os.environ:
        return []
    if runtime.device != 'npu':
        return ['this process is one rank of a job, for TF_CONFIG is set']
    rank, size = os.environ['RANK_ID'], os.environ.get('RANK_SIZE', '')
    if size.isdigit() and runtime.num_devices and int(size) % runtime.num_devices:
        raise UserError('RANK_ID=%s and RANK_SIZE=%s say that this process is one rank of a job, but ranks of '
                        '--num_devices=%d a host are never %s: if another job has left these variables, unset them, '
                        'and this command starts its own ranks' % (rank, size, runtime.num_devices, size))
    return ['this process is rank %s of %s, for RANK_ID is set; if another job has left it, unset it, and this command '
            'starts its own ranks' % (rank, size or 'an unknown number')]


def run(environments, ranks, log_dir, device):
    """Starts this very program once for each rank of this host, and waits for all. Returns an exit code."""
    print('rank 0 shows here; each rank writes %s' % os.path.join(log_dir, 'rank_N.log'), flush=True)
    # all ranks must have the device that --device=auto has become
    return run_together(_command(['--device=' + device]), _launched(environments), log_dir, ranks.stop_timeout,
                        bind_cores=ranks.bind_cores)


def run_shares(environments, log_dir, arguments, look):
    """The same for ranks that do not wait for each other.

    Args:
      environments, look: see `processes.run_together`.
      log_dir: str. arguments: list of str, that follow those of this process.
    Returns:
      int, an exit code.
    """
    # each sees all cores, as a process alone does: sums over threads, and so frames, are the same bit for bit
    return run_together(_command(arguments), _launched(environments), log_dir, _SHARE_GRACE, bind_cores=False,
                        leads=False, look=look)


def _command(arguments):
    """The command line of this process with `arguments` (list of str) added."""
    spec = sys.modules['__main__'].__spec__
    return [sys.executable] + (['-m', spec.name] if spec else [sys.argv[0]]) + sys.argv[1:] + arguments


def _launched(environments):
    return {rank: dict(changes, **{LAUNCHED: str(os.getpid())}) for rank, changes in environments.items()}


def apply(changes):
    """Changes the environment of this process: {variable: value, or None to unset it}."""
    for name, value in changes.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def meeting_point(config, size):
    """The address at which the ranks of this job connect: (host, port); None for a job of one rank.

    Ranks that another program started connect at the address of rank 0 in TF_CONFIG, or at its server in the rank
    table.

    Args:
      config: RanksConfig.
      size: int, ranks of the job.
    """
    if size == 1:
        return None
    if npu_plan.RENDEZVOUS in os.environ:
        host, _, port = os.environ[npu_plan.RENDEZVOUS].rpartition(':')
    elif 'TF_CONFIG' in os.environ:
        cluster = json.loads(os.environ['TF_CONFIG'])['cluster']
        host, _, port = (cluster.get('chief') or cluster['worker'])[0].rpartition(':')
    else:
        host, port = rank_table.read(os.environ['RANK_TABLE_FILE'])[0].server_id, config.port + RANKS
    return host, int(port)
