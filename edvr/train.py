"""Trains an EDVR from TFRecords, or continues a run.

  python -m edvr.train --flagfile=flags/8p.cfg             eight devices: NPUs, GPUs, or processes on a CPU
  python -m edvr.train --model_dir=RUN --steps=700000      all options have defaults; see --print_config

It starts a process for each NPU (--num_devices on each of --hosts); one process uses all GPUs of a host. Ctrl-C,
SIGTERM or a closed terminal saves a checkpoint and ends with code 130, 143 or 129; the same command continues the run.
Of a job on several hosts stop all within --stop_timeout, in any order: rank 0 saves, the others go on until it has.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

# NumPy reads this when it is loaded: samples and clips are degraded in parallel already
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from data_tools.base import program
from data_tools.record.manifest import Manifest
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RanksConfig, RuntimeConfig, TrainingConfig
from edvr.devices import device_of
from edvr.launch import plan, relaunch

CONFIGS = (ModelConfig, DataConfig, TrainingConfig, RuntimeConfig, RanksConfig)


def main() -> int:
    """Returns the exit code."""
    model, data, training, runtime, ranks = flags.build_all(*CONFIGS)
    log_dir = ranks.logs or os.path.join(training.model_dir, 'logs')
    job = device_of(runtime).plan_ranks(ranks, data.batch_size, log_dir)
    for note in job.notes:
        print(note, flush=True)
    if ranks.dry_run:
        print('ranks to start here: %s' % (', '.join(map(str, job.environments)) or 'none; this process trains'))
        return 0
    if job.environments:
        if data.input == 'tfrecords':
            for folder, _ in data.sets:
                Manifest.read(folder)   # an error is printed once and not by every rank
        return relaunch.run_ranks(job.environments, ranks, log_dir, runtime.device)
    plan.apply(job.changes)
    # TensorFlow takes seconds to load: wrong options are reported first
    from edvr.graph_mode import tf
    from edvr.training.training_run import Run
    tf.logging.set_verbosity(tf.logging.ERROR)   # the Estimator logs deprecation warnings at every call
    return Run(model, data, training, runtime, ranks, program.started()).train()


def run() -> None:
    """Runs the program."""
    flags.run(main, *CONFIGS)


if __name__ == '__main__':
    run()
