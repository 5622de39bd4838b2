"""Trains an EDVR from TFRecords, or continues a run.

  python -m edvr.train --flagfile=flags/demo.cfg --data_dir=TFRECORDS --model_dir=RUN

Ctrl-C or SIGTERM saves a checkpoint and ends with code 130 or 143; the same command continues the run.
"""
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig


def main():
    """Returns the exit code."""
    configs = flags.build_all(ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)
    # TensorFlow takes seconds to load: wrong options are told before
    import tensorflow.compat.v1 as tf

    from edvr.training.run import Run
    tf.logging.set_verbosity(tf.logging.ERROR)   # the Estimator warns of its own deprecation at each turn
    return Run(*configs).train()


if __name__ == '__main__':
    flags.run(main, ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)
