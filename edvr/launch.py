"""Starts one training process for each accelerator of this host, watches them, and ends them together.

    python -m edvr.launch --rank_table=scripts/rank_tables/8p.json -- --flagfile=flags/8p.cfg ...
    python -m edvr.launch --device=cpu --ranks=2 -- --data_dir=... --model_dir=...

What follows `--` goes to the program. Each rank writes LOGS/rank_N.log; the first is shown here too. The first rank
that fails stops the job, with the end of its log. Ctrl-C or SIGTERM: rank 0 saves a checkpoint, then all end; the same
command goes on from there.
"""
import sys

from edvr import flags
from edvr.config.launch import LaunchConfig
from edvr.runtime.ranks import launch


def main(arguments):
    """Returns the exit code; `arguments` (list of str) go to the program."""
    return launch.run(flags.build(LaunchConfig), arguments)


if __name__ == '__main__':
    separator = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
    handed_on = sys.argv[separator + 1:]
    del sys.argv[separator:]
    flags.run(lambda: main(handed_on), LaunchConfig)
