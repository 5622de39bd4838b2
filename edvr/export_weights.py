"""Converts a checkpoint to a PyTorch checkpoint that BasicSR's EDVR loads: the inverse of edvr.import_weights.

  python -m edvr.export_weights --checkpoint=train --output=EDVR.pth

From Python: `edvr.pytorch.weights.export_weights`.
"""
import dataclasses

from data_tools.base.errors import UserError
from edvr import flags
from edvr.config import Config, option
from edvr.pytorch import state_dict, weights


@dataclasses.dataclass(frozen=True)
class ExportWeightsConfig(Config):
    """Input and output of the conversion."""

    TITLE = 'export'

    checkpoint: str = option('', 'model directory, or prefix of one of its checkpoints')
    output: str = option('', 'PyTorch file (.pth) to write')
    use_ema: bool = option(True, 'take the moving averages of the weights where the checkpoint has them')


def main():
    options = flags.build(ExportWeightsConfig)
    if not options.checkpoint or not options.output:
        raise UserError('give --checkpoint=DIRECTORY and --output=FILE.pth')
    config, tensors = weights.export_weights(options.checkpoint, options.output, options.use_ema)
    print('%s: %d tensors; %s' % (options.output, tensors, state_dict.describe(config)))


if __name__ == '__main__':
    flags.run(main, ExportWeightsConfig)
