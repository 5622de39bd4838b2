"""Checks a set of shards against its manifest and reports which record of which shard is wrong. Exits with 1 if any is.

    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords                      counts, sizes, checksums
    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords --deep               decodes every record as well
    python -m data_tools.check_tfrecords --data_dir=REDS/tfrecords --source=REDS/images compares with the frames as well
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from tqdm import tqdm

from data_tools.base import flags
from data_tools.packing.config import CheckConfig
from data_tools.packing.verification import check_set


def main() -> int:
    """Returns the exit code."""
    config = flags.build(CheckConfig)
    return 1 if check_set(config.data_dir, config.deep, config.source, lambda text: tqdm.write('wrong: ' + text),
                          config.lq_folder) else 0


def run() -> None:
    """Runs the program."""
    flags.run(main, CheckConfig)


if __name__ == '__main__':
    run()
