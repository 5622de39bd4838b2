"""Writes network.npz: values of each stage of a tiny network, by the NumPy implementation in tests/numpy_edvr.py.

    python tests/golden/make_network.py

They change only when what the network computes is meant to change.
"""
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import numpy_edvr  # noqa: E402

from edvr.config import ModelConfig  # noqa: E402
from edvr.pytorch import state_dict  # noqa: E402

FILE = os.path.join(HERE, 'network.npz')
CONFIG = ModelConfig(num_frames=3, channels=8, deform_groups=2, num_extract_block=1, num_reconstruct_block=1)


def make_inputs():
    """(weights, names below `edvr/` -> float32; window, uint8 [T, 8, 8, 3]), the same on every machine."""
    random = np.random.RandomState(20)
    weights = {name: (random.randn(*shape) / np.sqrt(np.prod(shape[:-1]) if len(shape) > 1 else 4)).astype(np.float32)
               for name, shape in sorted(state_dict.variable_shapes(CONFIG).items())}
    return weights, random.randint(0, 256, (CONFIG.num_frames, 8, 8, 3)).astype(np.uint8)


def main():
    weights, window = make_inputs()
    network = numpy_edvr.Network({name: value.astype(np.float64) for name, value in weights.items()}, CONFIG)
    frames = window / 255.0
    pyramid = network.pyramid(frames)
    aligned, means = network.align(pyramid)
    fused = network.fuse(aligned)
    sr = network.reconstruct(fused, frames[1:2])
    values = dict(l1=pyramid[0], l3=pyramid[2], aligned=aligned[None], fused=fused, sr=sr,
                  offset_means=np.array([means[name] for name in sorted(means)]))
    np.savez_compressed(FILE, **{name: value.astype(np.float32) for name, value in values.items()})


if __name__ == '__main__':
    main()
