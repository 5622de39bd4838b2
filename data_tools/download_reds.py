"""Downloads REDS (CC BY 4.0, seungjunnah.github.io/Datasets/reds) and unpacks it.

    python -m data_tools.download_reds --root_dir=reds --train_sharp --train_sharp_bicubic --val_sharp \\
        --val_sharp_bicubic

The same command resumes a stopped download or unpacking.
Archives are stored in ROOT/downloads, frames in ROOT/train/train_sharp/000/00000000.png and so on.
An archive is removed after it is unpacked (--keep_zips keeps it); ROOT/downloads/NAME.done marks it as done.
REDS x4 training needs the four subsets above: a download of about 40 GB, and as much again while unpacking.
"""
from data_tools.base import flags
from data_tools.reds.config import DownloadConfig
from data_tools.reds.download import get_subsets


def main():
    get_subsets(flags.build(DownloadConfig))


if __name__ == '__main__':
    flags.run(main, DownloadConfig)
