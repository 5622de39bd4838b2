"""Packs clips into TFRecord shards for training, losslessly, once.

    python -m data_tools.make_tfrecords                               data/REDS -> data/REDS/tfrecords, without REDS4
    python -m data_tools.make_tfrecords --data_dir=clips --make_lq    clips -> clips/tfrecords, with LQ made of GT

One record is a window of frames with the ground truth of its centre; every frame of every clip is a centre once.
Windows are shuffled over all clips. The same input and seed give the same bytes for every number of workers. The same
command resumes a stopped run. manifest.json is written last.

Several hosts can share the work: with --runner Apache Beam packs the shards; without Beam each host packs a
--shard_range, then one run with --merge_manifests writes the manifest.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

# NumPy reads this when it is loaded: samples and clips are degraded in parallel already
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from data_tools.base import flags
from data_tools.packing.config import PackConfig
from data_tools.packing.pack import pack_set


def main() -> None:
    """Packs the set."""
    pack_set(flags.build(PackConfig))


def run() -> None:
    """Runs the program."""
    flags.run(main, PackConfig)


if __name__ == '__main__':
    run()
