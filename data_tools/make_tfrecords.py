"""Packs clips into TFRecord shards for training, losslessly, once.

    python -m data_tools.make_tfrecords                               data/REDS -> data/REDS/tfrecords, without REDS4
    python -m data_tools.make_tfrecords --data_dir=clips --make_lq    clips -> clips/tfrecords, with LQ made of GT

One record is a window of frames with the ground truth of its centre; every frame of every clip is a centre once.
Windows are shuffled over all clips. The same input and seed give the same bytes, whatever the number of workers. A run
that was stopped goes on where it was when the same command is given again. manifest.json is written last.

Several hosts can share the work: give each a part with --shard_range, then run once more with --merge_manifests.
"""
from data_tools.base import flags
from data_tools.packing.config import PackConfig
from data_tools.packing.pack import pack_set


def main():
    pack_set(flags.build(PackConfig))


if __name__ == '__main__':
    flags.run(main, PackConfig)
