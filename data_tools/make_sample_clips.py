"""Makes clips that look like video, in REDS layout: GT, and LQ by antialiased bicubic downscaling.

Draws textured planes that move in front of each other (shift, turn, zoom), a slight change of light and mild grain.
The same flags give the same pixels on every machine. The clips serve to try the programs without a data set:

    python -m data_tools.make_sample_clips --output_dir=clips --num_clips=8 --num_frames=12 --gt_size=128x192

The same command resumes an interrupted run.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import flags
from data_tools.base.worker_pool import available_cores
from data_tools.sample.clips import make_clips
from data_tools.sample.config import SampleConfig


def main() -> None:
    """Writes the clips."""
    config = flags.build(SampleConfig)
    height, width = config.size
    make_clips(config.output_dir, config.num_clips, config.num_frames, height, width, scale=config.scale,
               seed=config.seed, first_clip=config.first_clip, num_workers=config.num_workers or available_cores())
    print('%d clips of %d frames, GT %s, LQ x%d in %s' % (config.num_clips, config.num_frames, config.gt_size,
                                                          config.scale, config.output_dir))


def run() -> None:
    """Runs the program."""
    flags.run(main, SampleConfig)


if __name__ == '__main__':
    run()
