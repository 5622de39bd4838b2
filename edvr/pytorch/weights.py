"""Converts checkpoints of this project from and to PyTorch's and .safetensors files, for edvr.import_weights and
edvr.export_weights."""
import os
import shutil
import tempfile
from typing import Any, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.network import networks
from edvr.network.base import SCOPE
from edvr.ops.stock import StockOps
from edvr.pytorch import pth_file, safetensors_file, state_dict
from edvr.pytorch.state_dict import Arrays


def import_weights(source: str, output_dir: str, param_key: str = state_dict.AUTO) -> Tuple[str, ModelConfig, Arrays]:
    """Converts a PyTorch checkpoint of EDVR to a model directory.

    Args:
      source: the .pth or .safetensors file.
      output_dir: the directory to make.
      param_key: the key of the weights, see `state_dict.weights_key`.
    Returns:
      (the new checkpoint's prefix; ModelConfig; float32 arrays by the reference implementation's names).
    Raises:
      UserError: no such file, no weights of an EDVR in it, values that are not finite, or a directory that has a
        checkpoint already.
    """
    checkpoint = _format_of(source).load(source)
    state = state_dict.state_of(checkpoint, source, param_key)
    config = state_dict.infer_config(state, source)
    check_finite(state, source)
    taken, found = state_dict.weights_key(checkpoint, source, param_key)
    if len(found) > 1:
        print('%s has %s: took %s (--param_key chooses)' % (source, ' and '.join(found), taken), flush=True)
    return save(state_dict.to_weights(state, config, source), config, output_dir), config, state


def export_weights(checkpoint: str, output: str, use_ema: bool = True) -> Tuple[ModelConfig, int]:
    """Converts a checkpoint to a file of the weights by the names of BasicSR's EDVR.

    Args:
      checkpoint: model directory or prefix.
      output: the file to write: .safetensors, or PyTorch's with any other suffix.
      use_ema: whether to take moving averages if the checkpoint has them.
    Returns:
      (ModelConfig, number of tensors).
    Raises:
      UserError: PyTorch is missing, no such checkpoint, a damaged one, another network, or the file cannot be
        written.
    """
    form = _format_of(output)
    if form is pth_file:
        pth_file.import_torch()   # its absence is reported before the work
    weights, config = load(checkpoint, use_ema)
    if config.network not in state_dict.NETWORKS:
        raise UserError('%s: PyTorch files are of the networks %s; this checkpoint is of --network=%s'
                        % (checkpoint, ', '.join(state_dict.NETWORKS), config.network))
    state = state_dict.to_state(weights, config)
    form.save(output, state)
    return config, len(state)


def _format_of(path: str) -> Any:
    """Returns the module that reads and writes a file of this name."""
    return safetensors_file if path.lower().endswith('.safetensors') else pth_file


def save(weights: Arrays, config: ModelConfig, output_dir: str) -> str:
    """Writes `<output_dir>/model.ckpt-0` and model.json; returns the checkpoint's prefix.

    Args:
      weights: float32 arrays by names under the scope `edvr/`.
      config: of the network.
      output_dir: is made if it does not exist.
    Raises:
      UserError: the directory has a checkpoint already, cannot be written, or has a name that TensorFlow cannot read.
    """
    checkpoints.check_path(output_dir)
    if os.path.isdir(output_dir) and checkpoints.prefixes(output_dir):
        raise UserError('%s already holds a checkpoint (%s); give another --output_dir'
                        % (output_dir, checkpoints.prefixes(output_dir)[-1]))
    prefix = os.path.join(output_dir, checkpoints.BASENAME + '-0')
    with files.explained(output_dir), tf.Graph().as_default(), tf.Session() as session:
        checkpoints.save_model_config(output_dir, config)
        variables = [tf.get_variable('%s/%s' % (SCOPE, name), value.shape, tf.float32)
                     for name, value in sorted(weights.items())]
        step = tf.train.create_global_step()
        session.run(step.initializer)
        for variable, (_, value) in zip(variables, sorted(weights.items())):
            session.run(variable.initializer, {variable.initializer.inputs[1]: value})
        _save_complete(tf.train.Saver(variables + [step]), session, prefix)
    return prefix


def _save_complete(saver: 'tf.train.Saver', session: 'tf.Session', prefix: str) -> None:
    """Saves a checkpoint in a folder beside and moves it, its index last; nothing stays of one that fails."""
    folder = os.path.dirname(prefix)
    draft = tempfile.mkdtemp(prefix='.import-', dir=folder)
    try:
        saved = saver.save(session, os.path.join(draft, os.path.basename(prefix)), write_meta_graph=False,
                           write_state=False)
        for path in checkpoints.files_of(saved):
            with files.atomic_path(os.path.join(folder, os.path.basename(path))) as partial:
                os.replace(path, partial)
        checkpoints.write_state(folder)
    except BaseException:
        checkpoints.remove(prefix)
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(path: str, use_ema: bool = True) -> Tuple[Arrays, ModelConfig]:
    """Returns the weights of a checkpoint, float32 arrays by names under the scope `edvr/`, and its ModelConfig.

    Raises:
      UserError: there is no such checkpoint, it is damaged, or it lacks a weight of its network.
    """
    prefix = checkpoints.chosen(path)
    config = checkpoints.load_model_config(path)
    with tf.Graph().as_default():
        size = config.size_multiple
        networks.build(config).restore(StockOps(), tf.placeholder(tf.uint8, [1, config.num_frames, size, size, 3]))
        names = checkpoints.restore_map(prefix, tf.trainable_variables(), use_ema)
        with checkpoints.reader_of(prefix) as reader:
            return {variable.op.name[len(SCOPE) + 1:]: reader.get_tensor(name)
                    for name, variable in names.items()}, config


def check_finite(state: Arrays, source: str) -> None:
    """Raises UserError, which names the weight and the file `source`, if a weight contains NaN or infinity."""
    for name, value in sorted(state.items()):
        if not np.isfinite(value).all():
            raise UserError('%s: %s has values that are not finite (NaN or infinity); export the weights of an earlier '
                            'checkpoint' % (source, name))
