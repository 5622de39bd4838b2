"""Makes LQ clips from GT clips or videos: PNG frames, laid out as the data set's own.

    python -m data_tools.make_lq --data_dir=clips --output_dir=clips                      NAME/gt gets NAME/lq
    python -m data_tools.make_lq --data_dir=Vid4 --output_dir=Vid4 --degradation=bd       GT/NAME gets BDx4/NAME
    python -m data_tools.make_lq --data_dir=videos --output_dir=lq --degradation=compressed --crf=15,35

make_tfrecords, evaluate and train make the same LQ while they read, with --make_lq. A run that was stopped goes on
where it was; clips whose source has changed are made again.
"""
from data_tools.base import flags
from data_tools.lq.config import MakeLqConfig
from data_tools.lq.writer import write_lq


def main():
    write_lq(flags.build(MakeLqConfig))


if __name__ == '__main__':
    flags.run(main, MakeLqConfig)
