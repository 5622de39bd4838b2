"""Reconstruction of the frame from the fused features: residual blocks, sub-pixel convolutions, enlarged input."""
from edvr.ops.layers import conv2d, residual_blocks, upsample

OUTPUT_CHANNELS = 64   # channels of the last sub-pixel stage and of conv_hr; they do not grow with those of the network


def reconstruct(feature, centre, config):
    """The restored frame.

    Args:
      feature: float32 [N, H, W, C].
      centre: float32 in [0, 1], the window's centre frame: [N, H, W, 3], with hr_in [N, 4*H, 4*W, 3].
      config: ModelConfig.
    Returns:
      float32 [N, s*H, s*W, 3] (s = 4 with hr_in), not clipped.
    """
    return enlarge(refine(feature, config), centre, config)


def refine(feature, config):
    """The residual blocks, the first part of `reconstruct`; float32 [N, H, W, C] both ways."""
    return residual_blocks(feature, config.num_reconstruct_block, 'reconstruction')


def enlarge(x, centre, config):
    """The other part of `reconstruct`: x is the result of `refine`."""
    for name, channels, factor in stages(config):
        x = conv2d(x, channels * factor ** 2, name, activation='lrelu', block=factor)
    x = conv2d(x, OUTPUT_CHANNELS, 'conv_hr', activation='lrelu')
    return conv2d(x, 3, 'conv_last', residual=centre if config.hr_in else upsample(centre, config.scale))


def stages(config):
    """The sub-pixel stages: list of (layer name, channels after the shuffle, factor). x2 and x3 take one."""
    factor = 4 if config.hr_in else config.scale
    if factor == 4:
        return [('upconv1', config.channels, 2), ('upconv2', OUTPUT_CHANNELS, 2)]
    return [('upconv1', OUTPUT_CHANNELS, factor)]
