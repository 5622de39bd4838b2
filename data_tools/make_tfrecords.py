"""Packs clips into TFRecord shards for training, losslessly, once.

    python -m data_tools.make_tfrecords                               data/REDS -> data/REDS/tfrecords, without REDS4
    python -m data_tools.make_tfrecords --data_dir=clips --make_lq    clips -> clips/tfrecords, with LQ made of GT

One record is a window of frames with the ground truth of its centre; every frame of every clip is a centre once.
Windows are shuffled over all clips. The same input and seed give the same bytes for every number of workers. The same
command resumes a stopped run. manifest.json is written last.

Several hosts can share the work: with --runner Apache Beam packs the shards; without Beam each host packs a
--shard_range, then one run with --merge_manifests writes the manifest.
"""
from data_tools.base import flags
from data_tools.packing.config import PackConfig
from data_tools.packing.pack import pack_set


def main():
    pack_set(flags.build(PackConfig))


if __name__ == '__main__':
    flags.run(main, PackConfig)
