"""Downloads REDS (CC BY 4.0, seungjunnah.github.io/Datasets/reds) and unpacks it.

    python -m data_tools.download_reds --root_dir=reds --train_sharp --train_sharp_bicubic --val_sharp \\
        --val_sharp_bicubic

The same command resumes a stopped download or unpacking.
Archives are stored in ROOT/downloads, frames in ROOT/train/train_sharp/000/00000000.png and so on.
An archive is removed after it is unpacked (--keep_zips keeps it); ROOT/downloads/NAME.done marks it as done.
REDS x4 training needs the four subsets above: a download of about 41 GB, 75 GB of disk while unpacking.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import flags
from data_tools.reds.config import DownloadConfig
from data_tools.reds.download import get_subsets


def main() -> None:
    """Downloads and unpacks the subsets."""
    get_subsets(flags.build(DownloadConfig))


def run() -> None:
    """Runs the program."""
    flags.run(main, DownloadConfig)


if __name__ == '__main__':
    run()
