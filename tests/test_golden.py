"""The network's stages against committed values (golden/network.npz, made by golden/make_network.py)."""
import os
import sys

import numpy as np
import tensorflow.compat.v1 as tf
from helpers import session as unoptimized_session

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden'))
import make_network

from edvr.network import alignment, fusion, networks
from edvr.ops.stock import StockOps


def test_stages():
    weights, window = make_network.make_inputs()
    config, golden, ops = make_network.CONFIG, np.load(make_network.FILE), StockOps()
    network = networks.build(config)
    with tf.Graph().as_default(), unoptimized_session() as session:
        l1, l2, l3 = network.extract_features(ops, tf.constant(window))
        with tf.variable_scope('edvr', reuse=tf.AUTO_REUSE):
            aligned, means = alignment.align(ops, [level[tf.newaxis] for level in (l1, l2, l3)], config)
            fused = fusion.fuse(ops, aligned, config)
        values = dict(l1=l1, l3=l3, aligned=aligned, fused=fused,
                      offset_means=tf.stack([means[name] for name in sorted(means)]),
                      sr=network.restore(ops, tf.constant(window[np.newaxis])).sr)
        variables = tf.trainable_variables()
        session.run([variable.initializer for variable in variables], {
            variable.initializer.inputs[1]: weights[variable.op.name[len('edvr/'):]] for variable in variables})
        for name, value in session.run(values).items():
            assert value.shape == golden[name].shape, name
            assert np.abs(value - golden[name]).max() < 5e-5, name
