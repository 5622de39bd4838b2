"""The processes of a training job."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class RanksConfig(Config):
    """The hosts of a job, and the start of the ranks on this host; --num_devices is their number."""

    TITLE = 'ranks'

    hosts: Tuple[str, ...] = option((), 'hosts of the job, names or addresses, in the order of their ranks; start the '
                                    'same command on each. Empty: only this host, or the hosts of the rank table',
                                    common=True)
    this_host: str = option('', 'the name of this host in --hosts or in the rank table; empty finds it by the '
                            'addresses of this host')
    port: int = option(29400, 'first of the TCP ports by which several hosts find each other: this one, the next, and '
                       'on GPUs and CPUs one for each process of a host', low=1024, high=65000)
    start_timeout: float = option(600., 'seconds to wait until all ranks of all hosts have started', low=1.)
    rank_table: str = option('', 'rank table of HCCL for a job on several NPUs; empty uses RANK_TABLE_FILE of the '
                             'environment, or makes one from the addresses of the cards (/etc/hccn.conf or hccn_tool)',
                             devices=('npu',), path='input')
    device_ids: Tuple[int, ...] = option((), 'NPUs of this host to use, as many as --num_devices; empty uses those of '
                                         'the rank table, else the first ones', low=0, devices=('npu',))
    logs: str = option('', 'folder for the output of each rank, rank_0.log and so on (that of rank 0 is also shown), '
                          'and for the rank table; default: logs inside --model_dir', path='output')
    dry_run: bool = option(False, 'print the ranks and their places, write their rank table, and end')
    bind_cores: bool = option(True, 'give each process its own equal share of the cores; switch off where something '
                              'else places them')
    stop_timeout: float = option(60., 'seconds for rank 0 to save and end when the job is stopped, before it is '
                                 'killed; the others go on until then', low=0.)

    def problems(self) -> Iterator[str]:
        repeated = sorted({host for host in self.hosts if self.hosts.count(host) > 1})
        if repeated:
            yield 'hosts names %s more than once; each host of the job must be there once' % ', '.join(repeated)
        if self.hosts and self.this_host and self.this_host not in self.hosts:
            yield 'this_host is %r, which is not one of hosts (%s)' % (self.this_host, ', '.join(self.hosts))
        if self.hosts and self.rank_table:
            yield 'hosts and rank_table are both given; the rank table names the hosts itself'
