"""Rebuilds the batch of a step of a --deterministic training, and shows what the network did with it.

  python -m edvr.replay --model_dir=RUN --step=214300

It writes a contact sheet and a JSON file: from which clips the samples are, the loss, offsets and gradient of each, and
the norm of the gradient of each layer, with the weights of the newest checkpoint from before the step. Nothing else of
the training is computed again; it says how many updates lie between.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config import RuntimeConfig
from edvr.config.host import HostConfig
from edvr.config.replay import ReplayConfig


def main() -> None:
    """Writes sheet and JSON, and prints the most important lines."""
    config = flags.build(ReplayConfig)
    from edvr.devices import device_of
    from edvr.replaying import batch, examine, past_run, report
    from edvr.sharing import workers
    run = past_run.read(config.model_dir, config.step, config.data_dir)
    prefix = past_run.checkpoint_before(run, config.checkpoint)
    workers.take_one_device(config.device, HostConfig(num_devices=1), 'edvr.replay')
    device = device_of(RuntimeConfig(device=config.device, kernels=config.kernels))
    device.require()
    samples = batch.rebuild(run)
    numbers = examine.examine(run, samples, prefix, device)
    print('\n'.join(report.write(config.output_dir or os.path.join(config.model_dir, 'replay'), run, samples, numbers,
                                 prefix)))


def run() -> None:
    """Runs the program."""
    flags.run(main, ReplayConfig)


if __name__ == '__main__':
    run()
