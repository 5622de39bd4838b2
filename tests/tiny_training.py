"""Training small enough for tests: a set of TFRecords, configurations, and a network of three layers in place of EDVR.

As a program, `python tests/tiny_training.py FLAGS` is `python -m edvr.train FLAGS` with that network; TINY_TRAINING_NAN
in the environment names a step (or FIRST-LAST) at which its output is not finite, with `:some` only for some of the
batches; TINY_TRAINING_DUMP a folder for all batches (`dumped`); TINY_TRAINING_SLEEP seconds per step,
TINY_TRAINING_FAULT a disturbance (tests/faults/disturbance.py).
"""
import dataclasses
import os
import sys
import time
import uuid

import disturbance
import numpy as np
import tensorflow.compat.v1 as tf
from conftest import ROOT

from data_tools.record import record_format
from data_tools.record.manifest import Manifest, Shard, shard_name
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.network import networks
from edvr.network.base import Network, Outputs
from edvr.training import model_fn

FRAMES = 3


def make_set(folder, windows=24, shards=12, height=20, width=24, scale=4, seed=0):
    """Writes a set of TFRecords of smooth random windows into `folder`; returns its name, str."""
    folder, rng, entries = str(folder), np.random.RandomState(seed), []
    os.makedirs(folder)
    for index in range(shards):
        name = shard_name(index, shards)
        path, count = os.path.join(folder, name), windows // shards
        with tf.io.TFRecordWriter(path) as writer:
            for number in range(count):
                coarse = rng.randint(0, 256, [height // 4, width // 4, 3])
                lq = np.repeat(np.repeat(coarse, 4, 0), 4, 1).astype(np.uint8)
                gt = np.repeat(np.repeat(lq, scale, 0), scale, 1)
                writer.write(record_format.encode(record_format.Window(
                    'clip%d' % index, number, list(range(FRAMES)), count, 1, scale, np.stack([lq] * FRAMES), gt)))
        entries.append(Shard(name, count, os.path.getsize(path), 0))
    job = dict(num_frames=FRAMES, scale=scale, encoding='raw', lq_tile=0, gt_tile=0, fill='replicate',
               frame_interval=1, windows=windows, num_shards=shards,
               clips=[['clip%d' % index, windows // shards] for index in range(shards)])
    Manifest(FRAMES, scale, 'raw', 0, 0, [(height, width)], entries, job).write(folder)
    return folder


def configs(folder, model_dir, **training):
    """(ModelConfig, DataConfig, TrainingConfig, RuntimeConfig) of a tiny run; `training` may hold fields of each."""
    fields = dict(dict(num_frames=FRAMES, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1,
                       data_dir=str(folder), batch_size=2, patch_size=8, deterministic=True, kernels='tf',
                       intra_op_threads=1, model_dir=str(model_dir), steps=6, save_every=3, log_every=1,
                       summary_every=1), **training)
    return [cls(**{name: fields[name] for name in fields if name in cls.__dataclass_fields__})
            for cls in (ModelConfig, DataConfig, TrainingConfig, RuntimeConfig)]


def arguments(folder, model_dir, **training):
    """The same as flags: list of str."""
    values = {}
    for config in configs(folder, model_dir, **training):
        repeated = {field.name for field in dataclasses.fields(config) if field.metadata['repeated']}
        for name, value in config.to_dict().items():
            if name not in repeated:
                values[name] = ','.join(map(str, value)) if isinstance(value, tuple) else value
    return ['--%s=%s' % item for item in values.items()]


def network(lq, config, spoil=lambda sr: sr, width=8):
    """Restores as a network does; it has variables of each kind that training treats differently: Outputs."""
    x = tf.cast(lq[:, config.num_frames // 2], tf.float32) / 255.
    with tf.variable_scope('edvr', reuse=tf.AUTO_REUSE):
        weights = [tf.get_variable(name, shape, tf.float32, tf.random_normal_initializer(0., .1, seed=len(name)))
                   for name, shape in (('conv/weight', [3, 3, 3, width]),
                                       ('pcd_align/conv_offset/weight', [3, 3, width, 8]),
                                       ('fusion/weight', [1, 1, 8, 48]))]
    offset = tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(x, weights[0], 1, 'SAME')), weights[1], 1, 'SAME')
    sr = tf.depth_to_space(tf.nn.conv2d(tf.sin(offset), weights[2], 1, 'SAME'), 4) + .5
    mean = tf.reduce_mean(tf.abs(offset))
    return Outputs(spoil(sr), dict.fromkeys(model_fn.LEVELS, mean))


def dumped(folder):
    """The network, which writes the LQ of each slice of a batch as STEP_*.npy into `folder`; steps count from 1."""
    os.makedirs(folder, exist_ok=True)

    def write(step, lq):
        np.save(os.path.join(folder, '%d_%s.npy' % (step + 1, uuid.uuid4().hex)), lq)
        return lq

    def restore(lq, config):
        step = tf.train.get_global_step().read_value()
        written = tf.numpy_function(write, [step, lq], tf.uint8)
        written.set_shape(lq.shape)
        return network(written, config)
    return restore


def spoiled_at(first, last, value=float('nan'), where='sr', some=False):
    """The network with `value` added to its output, or its offsets, in updates first..last (counted from 1).

    With `some` only for about half of the batches: other batches, as after a rollback, may be good.
    """
    def spoiled(lq, config):
        outputs = network(lq, config)
        step = tf.train.get_global_step().read_value() + 1
        bad = tf.logical_and(step >= first, step <= last)
        if some:
            bad = tf.logical_and(bad, tf.reduce_sum(tf.cast(lq, tf.int32)) % 7 < 3)
        extra = tf.where_v2(bad, tf.constant(value), tf.constant(0.))
        if where == 'sr':
            return outputs._replace(sr=outputs.sr + extra)
        return outputs._replace(offset_means={name: mean + extra for name, mean in outputs.offset_means.items()})
    return spoiled


def as_network(function=network):
    """Makes an entry of `NETWORKS` of function(lq, config) -> Outputs; its features are the frames."""
    class Tiny(Network):
        def restore(self, ops, lq, recompute=False):
            return function(lq, self.config)

        def extract_features(self, ops, frames):
            return (frames,)

        def restore_features(self, ops, features, centre, recompute=False):
            return function(features[0], self.config)

        def frame_stages(self):
            return []

        def trunk(self, ops, frames):
            return function(tf.stack([frame for frame, in frames], axis=1), self.config).sr

        def upsample_to_output(self, ops, x, centre):
            return x
    return Tiny


def main():
    chosen, span = network, os.environ.get('TINY_TRAINING_NAN')
    if span:
        span, _, condition = span.partition(':')
        first, last = (span.split('-') * 2)[:2]
        chosen = spoiled_at(int(first), int(last), some=condition == 'some')
    if os.environ.get('TINY_TRAINING_DUMP'):
        chosen = dumped(os.environ['TINY_TRAINING_DUMP'])
    networks.NETWORKS['edvr'] = as_network(chosen)
    disturbance.apply(os.environ.get('TINY_TRAINING_FAULT'))
    pause = float(os.environ.get('TINY_TRAINING_SLEEP', 0))
    if pause:
        from edvr.training.hooks import step_hook
        before_run = step_hook.LoopHook.before_run

        def slowly(self, run_context):
            time.sleep(pause)
            return before_run(self, run_context)
        step_hook.LoopHook.before_run = slowly
    from edvr import train
    train.run()


if __name__ == '__main__':
    sys.path.insert(0, ROOT)
    main()
