"""The layers before the feature extraction: a predeblur module, a reduction of full-size input, or both.

Layer names are those of the public checkpoints: the predeblur module's of the reference implementation, conv_first_1
to 3 (full-size input without predeblur) of the authors' first release.
"""
from edvr.config.model import ModelConfig
from edvr.ops.base import Ops, Tensor


def first_features(ops: Ops, frames: Tensor, config: ModelConfig) -> Tensor:
    """Returns the features that enter the residual blocks of the extraction.

    Args:
      ops: the operations to use.
      frames: float32 [B, H, W, 3] in [0, 1].
      config: of the network.
    Returns:
      float32 [B, H, W, C]; with hr_in [B, H/4, W/4, C].
    """
    C = config.channels
    if config.with_predeblur:
        with ops.scope('predeblur'):
            x = predeblur(ops, frames, config)
        return ops.conv(x, C, 'conv_1x1', size=1)
    if config.hr_in:
        x = ops.conv(frames, C, 'conv_first_1', activation='lrelu')
        x = ops.conv(x, C, 'conv_first_2', stride=2, activation='lrelu')
        return ops.conv(x, C, 'conv_first_3', stride=2, activation='lrelu')
    return ops.conv(frames, C, 'conv_first', activation='lrelu')


def predeblur(ops: Ops, frames: Tensor, config: ModelConfig) -> Tensor:
    """Returns the result of a three-level pyramid of residual blocks, whose coarse levels are added into finer ones.

    Arguments and result are those of `first_features`.
    """
    C = config.channels
    l1 = ops.conv(frames, C, 'conv_first', activation='lrelu')
    if config.hr_in:
        l1 = ops.conv(l1, C, 'stride_conv_hr1', stride=2, activation='lrelu')
        l1 = ops.conv(l1, C, 'stride_conv_hr2', stride=2, activation='lrelu')
    l2 = ops.conv(l1, C, 'stride_conv_l2', stride=2, activation='lrelu')
    l3 = ops.conv(l2, C, 'stride_conv_l3', stride=2, activation='lrelu')
    l3 = ops.upsample(ops.residual_block(l3, 'resblock_l3'), 2)
    l2 = ops.add(ops.residual_block(l2, 'resblock_l2_1'), l3)
    l2 = ops.upsample(ops.residual_block(l2, 'resblock_l2_2'), 2)
    l1 = ops.add(ops.residual_blocks(l1, 2, 'resblock_l1'), l2)
    return ops.residual_blocks(l1, 3, 'resblock_l1', first=2)
