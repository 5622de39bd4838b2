"""Downloads REDS (CC BY 4.0, seungjunnah.github.io/Datasets/reds) and unpacks it.

    python -m data_tools.download_reds --root_dir=reds --train_sharp --train_sharp_bicubic --val_sharp \\
        --val_sharp_bicubic

Stop it whenever you like and start it again: it goes on where it stopped, with downloading and with unpacking.
Archives gather in ROOT/downloads; the frames land in ROOT/train/train_sharp/000/00000000.png and so on.
Archives are removed once unpacked (--keep_zips keeps them) and a note ROOT/downloads/NAME.done stays in their place.
For REDS x4 training you need the four subsets above: about 40 GB to download, as much again while unpacking.
"""
from data_tools.base import flags
from data_tools.reds.config import DownloadConfig
from data_tools.reds.download import get_subsets


def main():
    get_subsets(flags.build(DownloadConfig))


if __name__ == '__main__':
    flags.run(main, DownloadConfig)
