"""Reconstruction of the frame from the fused features: residual blocks, sub-pixel convolutions, enlarged input."""
import typing

from edvr.config.model import ModelConfig
from edvr.ops.base import Ops, Tensor

OUTPUT_CHANNELS = 64   # channels of the last sub-pixel stage and of conv_hr; they do not grow with those of the network


def trunk(ops: Ops, feature: Tensor, config: ModelConfig) -> Tensor:
    """Refines fused features by residual blocks: float32 [N, H, W, C] both ways."""
    return ops.residual_blocks(feature, config.num_reconstruct_block, 'reconstruction')


def upsample_to_output(ops: Ops, x: Tensor, centre: Tensor, config: ModelConfig) -> Tensor:
    """Returns the restored frame: the enlarged centre frame plus the details in the features.

    Args:
      ops: the operations to use.
      x: float32 [N, H, W, C], of `trunk`.
      centre: float32 in [0, 1], the window's centre frame: [N, H, W, 3], with hr_in [N, 4*H, 4*W, 3].
      config: of the network.
    Returns:
      float32 [N, s*H, s*W, 3] (s = 4 with hr_in), not clipped.
    """
    for name, channels, factor in stages(config):
        x = ops.conv(x, channels * factor ** 2, name, activation='lrelu', block=factor)
    x = ops.conv(x, OUTPUT_CHANNELS, 'conv_hr', activation='lrelu')
    return ops.conv(x, 3, 'conv_last', residual=centre if config.hr_in else ops.upsample(centre, config.scale))


def stages(config: ModelConfig) -> typing.List[typing.Tuple[str, int, int]]:
    """Returns the sub-pixel stages: (layer name, channels after the shuffle, factor) each. x2 and x3 take one."""
    factor = 4 if config.hr_in else config.scale
    if factor == 4:
        return [('upconv1', config.channels, 2), ('upconv2', OUTPUT_CHANNELS, 2)]
    return [('upconv1', OUTPUT_CHANNELS, factor)]
