"""Turns a checkpoint into a PyTorch checkpoint that BasicSR's EDVR loads: the inverse of edvr.import_weights.

  python -m edvr.export_weights --checkpoint=train --output=EDVR.pth
"""
import dataclasses

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.base.files import atomic_path
from edvr import checkpoints, flags
from edvr.config import Config, option
from edvr.model import network
from edvr.pytorch import state_dict


@dataclasses.dataclass(frozen=True)
class ExportWeightsConfig(Config):
    """What to turn into what."""

    TITLE = 'export'

    checkpoint: str = option('', 'model directory, or prefix of one of its checkpoints')
    output: str = option('', 'PyTorch file (.pth) to write')
    use_ema: bool = option(True, 'take the moving averages of the weights where the checkpoint has them')


def load(path, use_ema=True):
    """Weights of a checkpoint: (dict of names below `edvr/` -> float32 arrays, ModelConfig).

    Raises:
      UserError: when there is no such checkpoint, or it lacks a weight of its network.
    """
    prefix = checkpoints.chosen(path)
    config = checkpoints.load_model_config(path)
    with tf.Graph().as_default():
        size = config.size_multiple
        network.edvr(tf.placeholder(tf.uint8, [1, config.num_frames, size, size, 3]), config)
        names = checkpoints.restore_map(prefix, tf.trainable_variables(), use_ema)
        reader = tf.train.NewCheckpointReader(prefix)
        return {variable.op.name[len(network.SCOPE) + 1:]: reader.get_tensor(name)
                for name, variable in names.items()}, config


def main():
    options = flags.build(ExportWeightsConfig)
    if not options.checkpoint or not options.output:
        raise UserError('give --checkpoint=DIRECTORY and --output=FILE.pth')
    torch = state_dict.import_torch()
    weights, config = load(options.checkpoint, options.use_ema)
    state = state_dict.to_state(weights, config)
    with atomic_path(options.output) as partial:
        torch.save({'params': {name: torch.from_numpy(value) for name, value in sorted(state.items())}}, partial)
    print('%s: %d tensors; %s' % (options.output, len(state), state_dict.describe(config)))


if __name__ == '__main__':
    flags.run(main, ExportWeightsConfig)
