"""Turns a PyTorch checkpoint of EDVR into a TensorFlow checkpoint with its model.json.

  python -m edvr.import_weights --from=EDVR_M_x4_SR_REDS.pth --output_dir=models/edvr_m

Reads the checkpoints of BasicSR, of the authors' first release and of mmediting; the architecture is taken from the
weights' shapes. The result is a model directory for edvr.evaluate, edvr.infer, edvr.export and for edvr.train.
"""
import dataclasses
import os

import numpy as np
import tensorflow.compat.v1 as tf
from absl import flags as absl_flags

from data_tools.base.errors import UserError
from edvr import checkpoints, flags
from edvr.config import Config, option
from edvr.model import network
from edvr.pytorch import state_dict

EXACT = 1e-4   # largest difference allowed by --verify: float32 sums in another order


@dataclasses.dataclass(frozen=True)
class ImportConfig(Config):
    """What to make; what to read is --from, no name for a field in Python."""

    TITLE = 'import'

    output_dir: str = option('', 'model directory to make')
    verify: bool = option(False, 'compare a small forward pass with BasicSR, where it is installed')


def save(weights, config, output_dir):
    """Writes `<output_dir>/model.ckpt-0` and model.json.

    Args:
      weights: dict, names below `edvr/` -> float32 arrays.
      config: ModelConfig.
      output_dir: str, made if it does not exist.
    Returns:
      str, the checkpoint's prefix.
    Raises:
      UserError: when the directory has a checkpoint already, or cannot be written.
    """
    if os.path.isdir(output_dir) and checkpoints.prefixes(output_dir):
        raise UserError('%s already holds a checkpoint (%s); give another --output_dir'
                        % (output_dir, checkpoints.prefixes(output_dir)[-1]))
    prefix = os.path.join(output_dir, checkpoints.BASENAME)
    try:
        checkpoints.save_model_config(output_dir, config)
        with tf.Graph().as_default(), tf.Session() as session:
            variables = [tf.get_variable('%s/%s' % (network.SCOPE, name), value.shape, tf.float32)
                         for name, value in sorted(weights.items())]
            step = tf.train.create_global_step()
            session.run(step.initializer)
            for variable, (_, value) in zip(variables, sorted(weights.items())):
                session.run(variable.initializer, {variable.initializer.inputs[1]: value})
            return tf.train.Saver(variables + [step]).save(session, prefix, global_step=0, write_meta_graph=False)
    except OSError as error:
        raise UserError('%s: cannot be written: %s' % (output_dir, error.strerror or error)) from None


def check_finite(state, source):
    """Raises UserError naming the first weight with NaN or infinity; state: dict, names -> arrays."""
    for name, value in sorted(state.items()):
        if not np.isfinite(value).all():
            raise UserError('%s: %s has values that are not finite (NaN or infinite); these weights are spoilt'
                            % (source, name))


def restore_frame(prefix, config, window):
    """The network's output, float32 [s*H, s*W, 3], for one window, uint8 [T, H, W, 3], from a checkpoint."""
    with tf.Graph().as_default(), tf.Session() as session:
        sr = network.edvr(tf.constant(window[np.newaxis]), config).sr
        tf.train.Saver(checkpoints.restore_map(prefix, tf.trainable_variables())).restore(session, prefix)
        return session.run(sr)[0]


def verify(prefix, state, config):
    """Compares a small forward pass with the reference implementation's; returns what to print.

    Raises:
      UserError: when they differ.
    """
    torch = state_dict.import_torch()
    try:
        from basicsr.archs.edvr_arch import EDVR
    except ImportError as error:
        return 'not verified: the reference implementation cannot be imported (%s); pip install basicsr' % error
    if config.scale != 4 or (config.hr_in and not config.with_predeblur):
        return 'not verified: the reference implementation has no such network'
    size = config.size_multiple * 4
    window = np.random.RandomState(0).randint(0, 256, (config.num_frames, size, size, 3)).astype(np.uint8)
    model = EDVR(num_feat=config.channels, num_frame=config.num_frames, deformable_groups=config.deform_groups,
                 num_extract_block=config.num_extract_block, num_reconstruct_block=config.num_reconstruct_block,
                 hr_in=config.hr_in, with_predeblur=config.with_predeblur, with_tsa=config.with_tsa).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        frames = torch.from_numpy(window.transpose(0, 3, 1, 2)[np.newaxis].astype(np.float32) / 255)
        theirs = model(frames)[0].numpy().transpose(1, 2, 0)
    difference = float(np.abs(restore_frame(prefix, config, window) - theirs).max())
    if not difference < EXACT:
        raise UserError('the imported network differs from the reference implementation by %g (allowed %g)'
                        % (difference, EXACT))
    return 'verified: largest difference from the reference implementation %.1e' % difference


def main():
    source, options = flags.FLAGS['from'].value, flags.build(ImportConfig)
    if not source or not options.output_dir:
        raise UserError('give --from=FILE.pth and --output_dir=DIRECTORY')
    state = state_dict.state_of(state_dict.load_torch(source), source)
    config = state_dict.infer_config(state, source)
    check_finite(state, source)
    prefix = save(state_dict.to_weights(state, config, source), config, options.output_dir)
    print('%s: %s parameters; %s' % (prefix, format(sum(value.size for value in state.values()), ','),
                                     state_dict.describe(config)))
    if options.verify:
        print(verify(prefix, state, config))


if __name__ == '__main__':
    absl_flags.DEFINE_string('from', None, 'PyTorch checkpoint (.pth)', module_name=ImportConfig.TITLE)
    flags.run(main, ImportConfig)
