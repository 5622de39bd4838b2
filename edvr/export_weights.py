"""Converts a checkpoint to a PyTorch checkpoint that BasicSR's EDVR loads: the inverse of edvr.import_weights.

  python -m edvr.export_weights --checkpoint=train --output=EDVR.pth

From Python: `edvr.pytorch.weights.export_weights`.
"""
from edvr import flags
from edvr.config.export import ExportWeightsConfig
from edvr.pytorch import state_dict, weights


def main():
    options = flags.build(ExportWeightsConfig)
    config, tensors = weights.export_weights(options.checkpoint, options.destination, options.use_ema)
    print('%s: %d tensors; %s' % (options.destination, tensors, state_dict.describe(config)))


if __name__ == '__main__':
    flags.run(main, ExportWeightsConfig)
