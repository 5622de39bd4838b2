"""PCD alignment: a pyramid of deformable convolutions, coarse to fine, and a cascaded one, aligns every frame's
features to the centre frame's. Section 3.2 of arXiv 1905.02716.
"""
import tensorflow.compat.v1 as tf

from edvr.ops import native_ops
from edvr.ops.deform_conv import deform_conv
from edvr.ops.layers import (
    conv2d,
    conv2d_with_reference,
    lrelu,
    mean_magnitude,
    reference_half,
    shape_of,
    uniform,
    upsample,
    variable,
)

SCOPE = 'pcd_align'
LEVELS = ('l3', 'l2', 'l1', 'cas')   # in the order of computation


def align(features, config, dcn_impl='tf'):
    """Aligns all frames of a window, the centre frame included, to its centre frame.

    Args:
      features: the pyramid (l1, l2, l3): float32 [N, T, H, W, C], [N, T, H/2, W/2, C], [N, T, H/4, W/4, C].
      config: ModelConfig.
      dcn_impl: how to compute deformable convolutions, see `deform_conv`.
    Returns:
      float32 [N, T, H, W, C], and {'l3', 'l2', 'l1', 'cas'} -> float32 scalar, the mean |offset| in pixels.
    """
    T, C = config.num_frames, config.channels
    N, _, H, W, _ = shape_of(features[0])
    frames = [_merge_frames(level) for level in features]
    references = [level[:, T // 2] for level in features]
    feature, means = _align(frames, references, T, {}, config, dcn_impl)
    return tf.reshape(lrelu(feature), [N, T, H, W, C]), means


def align_frame(frame, halves, config, dcn_impl='tf'):
    """Aligns one frame; the frames of a window one after the other take less memory than `align`.

    Args:
      frame: its pyramid, float32 [N, H, W, C], [N, H/2, W/2, C], [N, H/4, W/4, C].
      halves: `reference_halves` of the centre frame.
      config, dcn_impl: as in `align`.
    Returns:
      float32 [N, H, W, C].
    """
    return lrelu(_align(frame, frame, 1, halves, config, dcn_impl)[0])


def reference_halves(centre, config):
    """What the alignment computes of the centre frame for all frames: {layer: float32 [N, h, w, C]}.

    Args:
      centre: the pyramid of the centre frame, see `align_frame`.
      config: ModelConfig.
    """
    layers = [('offset_conv1/' + level, centre[index]) for index, level in enumerate(('l1', 'l2', 'l3'))]
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        return {name: reference_half(level, config.channels, name)
                for name, level in layers + [('cas_offset_conv1', centre[0])]}


def _align(frames, references, T, halves, config, dcn_impl):
    """Aligns pyramids of [N*T, h, w, C] to those of [N, h, w, C]; the last activation is left to the caller.

    Returns:
      float32 [N*T, H, W, C] and the means of `align`. `references` serve the layers that `halves` does not have.
    """
    C, means = config.channels, {}
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        up_offset = up_feature = None
        for index, level in ((2, 'l3'), (1, 'l2'), (0, 'l1')):
            offset = _offset_features(frames[index], references[index], T, halves, up_offset, level, config)
            feature, means[level] = dcn_pack(frames[index], offset, 'dcn_pack/' + level, config, dcn_impl)
            if up_feature is not None:
                feature = conv2d([feature, up_feature], C, 'feat_conv/' + level, activation='lrelu' if index else None)
            else:
                feature = lrelu(feature)
            if index > 0:
                # twice the size, so twice the distance in pixels
                up_offset, up_feature = upsample(offset, 2, gain=2.0), upsample(feature, 2)
        offset = conv2d_with_reference(feature, references[0], C, T, 'cas_offset_conv1', 'lrelu',
                                       halves.get('cas_offset_conv1'))
        offset = conv2d(offset, C, 'cas_offset_conv2', activation='lrelu')
        feature, means['cas'] = dcn_pack(feature, offset, 'cas_dcnpack', config, dcn_impl)
    return feature, means


def _merge_frames(x):
    N, T, H, W, C = shape_of(x)
    return tf.reshape(x, [N * T, H, W, C])


def _offset_features(frames, reference, T, halves, up_offset, level, config):
    """The input of a level's offset prediction; float32 [N*T, h, w, C]. `up_offset` comes from the coarser level."""
    C, name = config.channels, 'offset_conv1/' + level
    x = conv2d_with_reference(frames, reference, C, T, name, 'lrelu', halves.get(name))
    if up_offset is None:
        return conv2d(x, C, 'offset_conv2/' + level, activation='lrelu')
    x = conv2d([x, up_offset], C, 'offset_conv2/' + level, activation='lrelu')
    return conv2d(x, C, 'offset_conv3/' + level, activation='lrelu')


def dcn_pack(x, offset_features, name, config, dcn_impl='tf'):
    """A deformable convolution whose offsets and masks are convolved from `offset_features`.

    Args:
      x: float32 [B, H, W, C].
      offset_features: float32 [B, H, W, C].
      name: str, the layer's scope.
      config: ModelConfig.
      dcn_impl: see `deform_conv`.
    Returns:
      float32 [B, H, W, C], and the mean |offset| in pixels, float32 scalar.
    """
    C, G = config.channels, config.deform_groups
    zeros = tf.zeros_initializer()
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        weight = variable('weight', [3, 3, C, C], uniform(9 * C))
        bias = variable('bias', [C], zeros)
        # [all dx | all dy | all mask], each group-major, then kernel point: the Ascend operator's order
        packed = conv2d(offset_features, 27 * G, 'conv_offset', weight_init=zeros, bias_init=zeros)
        if dcn_impl == 'native':   # takes them packed, which saves copies; the slice serves the mean only
            y, offset = native_ops.deform_conv_packed(x, packed, weight, bias, G), packed[..., :18 * G]
        else:
            # no slices: their gradients would be padded to the full size and added
            offset, mask = tf.split(packed, [18 * G, 9 * G], axis=-1)
            y = deform_conv(x, offset, tf.sigmoid(mask), weight, bias, G, impl=dcn_impl)
    return y, mean_magnitude(offset)
