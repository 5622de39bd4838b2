"""Converts a checkpoint to a PyTorch checkpoint that BasicSR's EDVR loads: the inverse of edvr.import_weights.

  python -m edvr.export_weights --checkpoint=train --output=EDVR.pth

With --output=EDVR.safetensors it writes the same weights without PyTorch.

From Python: `edvr.pytorch.weights.export_weights`.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags
from edvr.config.export import ExportWeightsConfig


def main() -> None:
    """Writes the file of the weights."""
    options = flags.build(ExportWeightsConfig)
    from edvr.pytorch import state_dict, weights
    config, tensors = weights.export_weights(options.checkpoint, options.destination, options.use_ema)
    print('%s: %d tensors; %s' % (options.destination, tensors, state_dict.describe(config)))


def run() -> None:
    """Runs the program."""
    flags.run(main, ExportWeightsConfig)


if __name__ == '__main__':
    run()
