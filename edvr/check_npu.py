"""Tries a job for Ascend NPUs on a host without a card, as it would be submitted.

    python -m edvr.check_npu --flagfile=edvr_m --flagfile=8p --data_dir=tfrecords --model_dir=run
    python -m edvr.check_npu --flagfile=flags/8p.cfg --rank_table=rank_table.json --chips=910b3 --json=report.json

It takes the options of edvr.train, builds the graphs of training and export, and reports where each operator would run
(AI Core, AI CPU, host), an estimate of the memory of a card, and what of this is known, was read, or was never seen. A
job that would not start ends with one line that names every reason.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import flags
from edvr.config import DataConfig, ModelConfig, RanksConfig, RuntimeConfig, TrainingConfig
from edvr.config.placement import PlacementConfig

CONFIGS = (PlacementConfig, ModelConfig, DataConfig, TrainingConfig, RuntimeConfig, RanksConfig)
DEVICE = 'npu'


def main() -> None:
    """Prints the report, and writes it as JSON."""
    config, model, data, training, runtime, ranks = flags.build_all(*CONFIGS)
    if runtime.device != DEVICE:
        raise UserError('--device=%s: this program tries jobs for --device=%s' % (runtime.device, DEVICE))
    folder = os.path.dirname(os.path.abspath(config.json))
    if config.json and not os.path.isdir(folder):
        raise UserError('--json=%s: there is no folder %s; make it first' % (config.json, folder))
    from edvr.graph_mode import tf
    from edvr.placement import job, report
    tf.logging.set_verbosity(tf.logging.ERROR)   # the EstimatorSpec logs a deprecation warning
    chips = list(report.chips(config, runtime).values())
    found = report.make(job.check(model, data, training, runtime, ranks, chips), model, data, training, runtime, config)
    print(report.text(found), end='', flush=True)
    if config.json:
        with files.explained(config.json):
            files.write_json(config.json, found)


def run() -> None:
    """Runs the program."""
    # a job is checked without its data and its directory, wherever they are
    flags.run(main, *CONFIGS, auto=DEVICE, opened=[PlacementConfig, RanksConfig])


if __name__ == '__main__':
    run()
