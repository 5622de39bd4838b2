"""Makes LQ clips from GT clips or videos: PNG frames in the layout of the data set.

    python -m data_tools.make_lq --data_dir=clips --output_dir=clips                      NAME/gt gets NAME/lq
    python -m data_tools.make_lq --data_dir=Vid4 --output_dir=Vid4 --degradation=bd       GT/NAME gets BDx4/NAME
    python -m data_tools.make_lq --data_dir=videos --output_dir=lq --degradation=compressed --crf=15,35

With --make_lq, make_tfrecords, evaluate and train make the same LQ while they read. The same command resumes a stopped
run; it makes clips again whose source has changed.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

# NumPy reads this when it is loaded: samples and clips are degraded in parallel already
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from data_tools.base import flags
from data_tools.lq.config import MakeLqConfig
from data_tools.lq.writer import write_lq


def main() -> None:
    """Writes the LQ clips."""
    write_lq(flags.build(MakeLqConfig))


def run() -> None:
    """Runs the program."""
    flags.run(main, MakeLqConfig)


if __name__ == '__main__':
    run()
