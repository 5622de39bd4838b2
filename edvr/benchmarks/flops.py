"""The multiply-adds of a network, counted from its graph."""
import tensorflow.compat.v1 as tf

from edvr.network import alignment
from edvr.network import edvr as network

TRAINING_FACTOR = 3   # forward, gradient to the inputs, gradient to the weights: each as much as the first


def forward_macs(config, height, width):
    """Multiply-adds of the convolutions, deformable ones included, to restore one frame from its window.

    Args:
      config: ModelConfig.
      height, width: int, input size in pixels.
    Returns:
      int.
    """
    with tf.Graph().as_default() as graph:
        network.edvr(tf.placeholder(tf.float32, [1, config.num_frames, height, width, 3]), config)
        return _convolution_macs(graph) + _deformable_macs(config, height, width)


def extraction_macs(config, height, width):
    """The part of `forward_macs` for the features of one frame."""
    with tf.Graph().as_default() as graph:
        network.extract_features(tf.placeholder(tf.float32, [1, height, width, 3]), config)
        return _convolution_macs(graph)


def _convolution_macs(graph):
    macs = 0
    for op in graph.get_operations():
        if op.type == 'Conv2D':
            taps, _, channels, _ = op.inputs[1].shape.as_list()
            macs += taps ** 2 * channels * op.outputs[0].shape.num_elements()
    return macs


def _deformable_macs(config, height, width):
    """Multiply-adds of the products of the four deformable convolutions, without the sampling."""
    shrink = 4 if config.hr_in else 1
    pixels = config.num_frames * (height // shrink) * (width // shrink)
    levels = {'l3': 16, 'l2': 4, 'l1': 1, 'cas': 1}
    return sum(deform_conv_macs(pixels // levels[level], config.channels, config.channels)
               for level in alignment.LEVELS)


def deform_conv_macs(pixels, channels_in, channels_out, kernel_points=9):
    """Multiply-adds of a deformable convolution's product."""
    return pixels * kernel_points * channels_in * channels_out
