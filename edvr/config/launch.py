"""Starting the processes of a job on one host."""
import dataclasses
from typing import Tuple

from data_tools.base.config import Config, option
from edvr.config.runtime import DEVICES


@dataclasses.dataclass(frozen=True)
class LaunchConfig(Config):
    """One process for each accelerator of this host (or simulated ranks on its CPU)."""

    TITLE = 'launch'

    device: str = option('npu', 'handed on to the program: npu, gpu or cpu', choices=DEVICES)
    ranks: int = option(0, 'processes on this host; 0 means as many as --rank_table, --device_ids or --addresses tell, '
                           'else 1', low=0)
    device_ids: Tuple[int, ...] = option((), 'devices of this host to use, one process each; empty means those of '
                                             '--rank_table, else 0, 1, ...', low=0)
    rank_table: str = option('', 'on NPU, needed by more than one rank: rank table of the whole job, see '
                                 'scripts/rank_tables and python -m edvr.rank_table')
    server_id: str = option('', 'on NPU: which server of --rank_table this host is; needed where it has several')
    addresses: Tuple[str, ...] = option((), 'on gpu and cpu: host:port of every rank of a job over several hosts; '
                                            'empty means all ranks are here')
    first_rank: int = option(0, 'on gpu and cpu with --addresses: rank of the first process of this host', low=0)
    logs: str = option('logs', 'directory for the output of each rank, rank_0.log, ...; rank 0 shows here as well')
    bind_cores: bool = option(True, 'give each process its own equal share of the cores; switch off where something '
                                    'else places them')
    grace: float = option(60., 'seconds that rank 0 has to save and end when the job is stopped, before it is killed',
                          low=0.)
    program: str = option('edvr.train', 'module to run in each process')

    def problems(self):
        if self.device == 'npu' and self.addresses:
            yield 'addresses is for gpu and cpu; an NPU job is described by --rank_table'
        if self.device != 'npu':
            for name in ('rank_table', 'server_id'):
                if getattr(self, name):
                    yield '%s is for --device=npu; the device is %r' % (name, self.device)
        if self.device == 'cpu' and self.device_ids:
            yield 'device_ids is for npu and gpu; use --ranks for processes on a CPU'
        if self.server_id and not self.rank_table:
            yield 'server_id is %r without --rank_table' % self.server_id
        if self.first_rank and not self.addresses:
            yield 'first_rank is %d without --addresses' % self.first_rank
        if self.ranks and self.device_ids and self.ranks != len(self.device_ids):
            yield 'ranks is %d, but device_ids names %d devices' % (self.ranks, len(self.device_ids))
        if self.device == 'npu' and not self.rank_table and max(self.ranks, len(self.device_ids)) > 1:
            yield ('%d NPUs exchange gradients only with a --rank_table, such as scripts/rank_tables/8p.json'
                   % max(self.ranks, len(self.device_ids)))
