"""The layers before the feature extraction: a predeblur module, a reduction of full-size input, or both.

Layer names are those of the public checkpoints: the predeblur module's of the reference implementation, conv_first_1
to 3 (full-size input without predeblur) of the authors' first release.
"""
import tensorflow.compat.v1 as tf

from edvr.ops.layers import conv2d, residual_block, residual_blocks, upsample


def first_features(frames, config):
    """The features that enter the residual blocks of the extraction.

    Args:
      frames: float32 [B, H, W, 3] in [0, 1].
      config: ModelConfig.
    Returns:
      float32 [B, H, W, C]; with hr_in [B, H/4, W/4, C].
    """
    C = config.channels
    if config.with_predeblur:
        with tf.variable_scope('predeblur', reuse=tf.AUTO_REUSE):
            x = predeblur(frames, config)
        return conv2d(x, C, 'conv_1x1', size=1)
    if config.hr_in:
        x = conv2d(frames, C, 'conv_first_1', activation='lrelu')
        x = conv2d(x, C, 'conv_first_2', stride=2, activation='lrelu')
        return conv2d(x, C, 'conv_first_3', stride=2, activation='lrelu')
    return conv2d(frames, C, 'conv_first', activation='lrelu')


def predeblur(frames, config):
    """A three-level pyramid of residual blocks, coarse levels added into finer ones; shapes as `first_features`."""
    C = config.channels
    l1 = conv2d(frames, C, 'conv_first', activation='lrelu')
    if config.hr_in:
        l1 = conv2d(l1, C, 'stride_conv_hr1', stride=2, activation='lrelu')
        l1 = conv2d(l1, C, 'stride_conv_hr2', stride=2, activation='lrelu')
    l2 = conv2d(l1, C, 'stride_conv_l2', stride=2, activation='lrelu')
    l3 = conv2d(l2, C, 'stride_conv_l3', stride=2, activation='lrelu')
    l3 = upsample(residual_block(l3, 'resblock_l3'), 2)
    l2 = residual_block(l2, 'resblock_l2_1') + l3
    l2 = upsample(residual_block(l2, 'resblock_l2_2'), 2)
    l1 = residual_blocks(l1, 2, 'resblock_l1') + l2
    return residual_blocks(l1, 3, 'resblock_l1', first=2)
