"""Converts a PyTorch checkpoint of EDVR to a TensorFlow checkpoint with its model.json.

  python -m edvr.import_weights --from=EDVR_M_x4_SR_REDS.pth --output_dir=models/edvr_m

Reads the checkpoints of BasicSR, of the authors' first release and of mmediting, as .pth (which needs PyTorch) or as
.safetensors; the architecture is taken from the weights' shapes. The result is a model directory for edvr.evaluate,
edvr.infer, edvr.export and for edvr.train. From Python: `edvr.pytorch.weights.import_weights`.
"""
import dataclasses
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from absl import flags as absl_flags

from data_tools.base.errors import UserError
from edvr import flags
from edvr.config import Config, option


@dataclasses.dataclass(frozen=True)
class ImportConfig(Config):
    """Output of the conversion; its input is --from, which cannot be the name of a field in Python."""

    TITLE = 'import'

    output_dir: str = option('', 'model directory to make', path='output')
    param_key: str = option('auto', 'weights to take from a file that has several: params, or params_ema (their '
                            'moving average); auto takes params if the file has them, as BasicSR does',
                            choices=('auto', 'params', 'params_ema', 'state_dict'))
    verify: bool = option(False, 'compare a small forward pass with BasicSR, if it is installed')


def main() -> None:
    """Writes the model directory."""
    source, options = flags.FLAGS['from'].value, flags.build(ImportConfig)
    if not source or not options.output_dir:
        raise UserError('give --from=FILE.pth (or .safetensors) and --output_dir=DIRECTORY')
    from edvr.pytorch import reference_check, state_dict, weights
    prefix, config, state = weights.import_weights(source, options.output_dir, options.param_key)
    print('%s: %s parameters; %s' % (prefix, format(sum(value.size for value in state.values()), ','),
                                     state_dict.describe(config)))
    if options.verify:
        print(reference_check.verify(prefix, state, config))


def run() -> None:
    """Runs the program."""
    absl_flags.DEFINE_string('from', None, 'PyTorch checkpoint (.pth), or .safetensors', module_name=ImportConfig.TITLE)
    flags.run(main, ImportConfig, inputs=['from'])


if __name__ == '__main__':
    run()
