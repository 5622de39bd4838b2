"""Starts this very program again, once for each rank or worker of this host."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

from data_tools.base import program
from edvr.launch.plan import Environment
from edvr.launch.processes import run_together

if TYPE_CHECKING:
    from edvr.config import RanksConfig

LAUNCHED = 'EDVR_LAUNCHED'   # set in the environment of the processes that this module has started
_WORKER_GRACE = 10.          # seconds for workers, which have nothing to save but the frame at hand


def run_ranks(environments: dict[int, Environment], ranks: RanksConfig, log_dir: str, device: str) -> int:
    """Starts the ranks of a training job and waits for all. Returns an exit code.

    Args:
      environments: {rank: changes to the environment}.
      ranks: binding to cores, and the time to stop.
      log_dir: folder for the output of each rank.
      device: the name that --device=auto has become; all ranks must have it.
    """
    print('rank 0 shows here; each rank writes %s' % os.path.join(log_dir, 'rank_N.log'), flush=True)
    return run_together(program.command(['--device=' + device]), _launched(environments), log_dir, ranks.stop_timeout,
                        bind_cores=ranks.bind_cores)


def run_workers(environments: dict[int, Environment], log_dir: str, arguments: list[str],
                look: Callable[[], None]) -> int:
    """Starts workers, which do not wait for each other, and waits for all. Returns an exit code.

    Args:
      environments: {number: changes to the environment}.
      log_dir: folder for the output of each worker.
      arguments: those that follow the arguments of this process.
      look: called again and again while the processes run.
    """
    # each sees all cores, as a process alone does: sums over threads, and so frames, are the same bit for bit
    return run_together(program.command(arguments), _launched(environments), log_dir, _WORKER_GRACE, bind_cores=False,
                        leads=False, look=look)


def _launched(environments: dict[int, Environment]) -> dict[int, Environment]:
    return {rank: dict(changes, **{LAUNCHED: str(os.getpid())}) for rank, changes in environments.items()}
