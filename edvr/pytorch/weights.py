"""Converts checkpoints of this project from and to PyTorch files, for edvr.import_weights and edvr.export_weights."""
import os

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from data_tools.base.files import atomic_path
from edvr import checkpoints
from edvr.network import networks
from edvr.network.base import SCOPE
from edvr.ops.stock import StockOps
from edvr.pytorch import pth_file, state_dict


def import_weights(source, output_dir):
    """Converts a PyTorch checkpoint of EDVR to a model directory.

    Args:
      source: str, the .pth file. output_dir: str, the directory to make.
    Returns:
      (str, the new checkpoint's prefix; ModelConfig; dict, the reference implementation's names -> float32 arrays).
    Raises:
      UserError: no such file, no weights of an EDVR in it, values that are not finite, or a directory that has a
        checkpoint already.
    """
    state = state_dict.state_of(pth_file.load(source), source)
    config = state_dict.infer_config(state, source)
    check_finite(state, source)
    return save(state_dict.to_weights(state, config, source), config, output_dir), config, state


def export_weights(checkpoint, output, use_ema=True):
    """Converts a checkpoint to a PyTorch file that BasicSR's EDVR loads.

    Args:
      checkpoint: str, model directory or prefix. output: str, the .pth file to write.
      use_ema: whether to take moving averages where the checkpoint has them.
    Returns:
      (ModelConfig, int: number of tensors).
    Raises:
      UserError: PyTorch is missing, no such checkpoint, a damaged one, or the file cannot be written.
    """
    torch = pth_file.import_torch()
    weights, config = load(checkpoint, use_ema)
    state = state_dict.to_state(weights, config)
    with atomic_path(output) as partial:
        torch.save({'params': {name: torch.from_numpy(value) for name, value in sorted(state.items())}}, partial)
    return config, len(state)


def save(weights, config, output_dir):
    """Writes `<output_dir>/model.ckpt-0` and model.json.

    Args:
      weights: dict, names below `edvr/` -> float32 arrays.
      config: ModelConfig.
      output_dir: str, made if it does not exist.
    Returns:
      str, the checkpoint's prefix.
    Raises:
      UserError: the directory has a checkpoint already, cannot be written, or has a name that TensorFlow cannot read.
    """
    checkpoints.check_path(output_dir)
    if os.path.isdir(output_dir) and checkpoints.prefixes(output_dir):
        raise UserError('%s already holds a checkpoint (%s); give another --output_dir'
                        % (output_dir, checkpoints.prefixes(output_dir)[-1]))
    prefix = os.path.join(output_dir, checkpoints.BASENAME)
    try:
        checkpoints.save_model_config(output_dir, config)
        with tf.Graph().as_default(), tf.Session() as session:
            variables = [tf.get_variable('%s/%s' % (SCOPE, name), value.shape, tf.float32)
                         for name, value in sorted(weights.items())]
            step = tf.train.create_global_step()
            session.run(step.initializer)
            for variable, (_, value) in zip(variables, sorted(weights.items())):
                session.run(variable.initializer, {variable.initializer.inputs[1]: value})
            return tf.train.Saver(variables + [step]).save(session, prefix, global_step=0, write_meta_graph=False)
    except OSError as error:
        raise UserError('%s: cannot be written: %s' % (output_dir, error.strerror or error)) from None


def load(path, use_ema=True):
    """Weights of a checkpoint: (dict of names below `edvr/` -> float32 arrays, ModelConfig).

    Raises:
      UserError: there is no such checkpoint, it is damaged, or it lacks a weight of its network.
    """
    prefix = checkpoints.chosen(path)
    config = checkpoints.load_model_config(path)
    with tf.Graph().as_default():
        size = config.size_multiple
        networks.build(config).restore(StockOps(), tf.placeholder(tf.uint8, [1, config.num_frames, size, size, 3]))
        names = checkpoints.restore_map(prefix, tf.trainable_variables(), use_ema)
        reader = tf.train.NewCheckpointReader(prefix)
        return {variable.op.name[len(SCOPE) + 1:]: reader.get_tensor(name)
                for name, variable in names.items()}, config


def check_finite(state, source):
    """Raises UserError naming the first weight that contains NaN or infinity; state: dict, names -> arrays."""
    for name, value in sorted(state.items()):
        if not np.isfinite(value).all():
            raise UserError('%s: %s has values that are not finite (NaN or infinity); export the weights of an earlier '
                            'checkpoint' % (source, name))
