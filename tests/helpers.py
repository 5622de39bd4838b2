"""Helpers of several tests: the checkpoint of a tiny network, smooth frames."""
import functools
import os
import tempfile

import numpy as np
import tensorflow.compat.v1 as tf

from edvr import checkpoints
from edvr.config import ModelConfig, RuntimeConfig
from edvr.devices import DEVICES, device_of
from edvr.network import networks
from edvr.ops.stock import StockOps

TINY = dict(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)


def session():
    """A tf.Session that runs the default graph as it was built: optimizing it takes longer than a single run."""
    config = tf.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return tf.Session(config=config)


def ops_of(kernels):
    """The operations of the kernels 'tf', 'native' or 'npu', on a device that has them."""
    device = next(name for name in DEVICES if kernels in DEVICES[name].KERNELS)
    return device_of(RuntimeConfig(device=device, kernels=kernels)).ops()


def operations_before(operations):
    """Returns the set of the operations that must run before one of `operations`, by values or control."""
    found, todo = set(), list(operations)
    while todo:
        for other in [tensor.op for tensor in todo[-1].inputs] + list(todo.pop().control_inputs):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def tiny_checkpoint(directory, seed=0, step=7, ema=False, **model_fields):
    """Writes a checkpoint of a tiny network as training would leave it, with offsets that really move.

    Args:
      directory: where model.json, checkpoint and model.ckpt-STEP.* go; made if absent.
      seed: of the random weights.
      step: int, the global step it pretends to be at.
      ema: whether to store, beside each variable, a moving average that differs from it.
      **model_fields: fields of ModelConfig over TINY.
    Returns:
      str, the checkpoint's prefix.
    """
    directory = str(directory)
    os.makedirs(directory, exist_ok=True)
    for name, data in _checkpoint_files(seed, step, ema, ModelConfig(**dict(TINY, **model_fields))):
        with open(os.path.join(directory, name), 'wb') as file:
            file.write(data)
    return os.path.join(directory, 'model.ckpt-%d' % step)


@functools.lru_cache(maxsize=None)
def _checkpoint_files(seed, step, ema, config):
    """[(name, bytes)] of the directory that `tiny_checkpoint` makes: building the graph takes seconds."""
    with tempfile.TemporaryDirectory() as directory:
        checkpoints.save_model_config(directory, config)
        _save(directory, seed, step, ema, config)
        contents = []
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), 'rb') as file:
                contents.append((name, file.read()))
        return contents


def _save(directory, seed, step, ema, config):
    rng = np.random.RandomState(seed)
    with tf.Graph().as_default(), session() as running:
        tf.set_random_seed(seed)
        size = 2 * config.size_multiple
        networks.build(config).restore(StockOps(), tf.zeros([1, config.num_frames, size, size, 3]))
        variables = tf.trainable_variables()
        tf.train.get_or_create_global_step()
        averages = tf.train.ExponentialMovingAverage(0.9)
        if ema:
            averages.apply(variables)
        running.run(tf.global_variables_initializer())
        values = dict(zip(variables, running.run(variables)))
        for variable in variables:
            if 'conv_offset' in variable.op.name:   # zero when new; a trained network's offsets and masks vary
                values[variable] = rng.normal(0, 0.3, variable.shape)
        if ema:
            values.update({averages.average(variable): values[variable] + rng.normal(0, 0.01, variable.shape)
                           for variable in variables})
        values[tf.train.get_global_step()] = step
        # what the initializer really assigns: for an average that is not its `initial_value`
        running.run([variable.initializer for variable in values],
                    {variable.initializer.inputs[1]: value for variable, value in values.items()})
        saver = tf.train.Saver(save_relative_paths=True)   # the files are copied to other directories
        saver.save(running, os.path.join(directory, 'model.ckpt'), global_step=step)


def smooth_frames(count, height, width, seed=0):
    """uint8 [count, height, width, 3]: a coloured pattern that moves a little from frame to frame."""
    rng = np.random.RandomState(seed)
    phase, speed = rng.uniform(0, 6, (2, 3)), rng.uniform(-0.4, 0.4, 3)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    frames = [127.5 + 100 * np.sin(0.35 * x[..., None] + phase[0] + t * speed)
              * np.cos(0.27 * y[..., None] + phase[1] - t * speed) for t in range(count)]
    noise = rng.uniform(-12, 12, (count, height, width, 3))
    return np.clip(np.stack(frames) + noise, 0, 255).astype(np.uint8)
