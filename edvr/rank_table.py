"""Makes the rank table that HCCL reads: which Ascend devices, in which servers, have which rank.

    python -m edvr.rank_table --hosts=10.0.0.10 --hccn_conf=/etc/hccn.conf --output=rank_table.json
    python -m edvr.rank_table --hosts=10.0.0.10,10.0.0.11 --device_ips=192.168.1.1,192.168.1.2 --output=x.json

Ranks are counted host by host, in the order given.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config.rank_table import RankTableConfig


def main() -> None:
    """Writes the rank table."""
    config = flags.build(RankTableConfig)
    from edvr.launch import rank_table
    ranks = rank_table.write(config)
    print('%s: %d ranks on %d servers' % (config.output, len(ranks), len(config.hosts)))


def run() -> None:
    """Runs the program."""
    flags.run(main, RankTableConfig)


if __name__ == '__main__':
    run()
