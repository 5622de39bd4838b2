"""Arranges unpacked REDS as 270 clips, with the validation clips 000..029 as 240..269, and writes two lists of clips.

    python -m data_tools.regroup_reds --root_dir=reds

It makes images/truth/NNN (GT), images/blur4/NNN (LQ), sets/train.json and sets/val.json. By default, clips are links to
the download, which need no space; --mode=move and --mode=copy make real folders. The same command resumes a stopped
run: a clip gets its final name only when it is complete.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import flags
from data_tools.reds.config import RegroupConfig
from data_tools.reds.regroup import regroup


def main() -> None:
    """Arranges the clips."""
    config = flags.build(RegroupConfig)
    train, held_out = regroup(config.root_dir, config.output_dir or config.root_dir, config.mode, config.lq,
                              config.split, config.partial)
    print('%d clips train, %d are held out; images and sets are in %s'
          % (len(train), len(held_out), config.output_dir or config.root_dir))


def run() -> None:
    """Runs the program."""
    flags.run(main, RegroupConfig)


if __name__ == '__main__':
    run()
