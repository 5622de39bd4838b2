"""PCD alignment: a pyramid of deformable convolutions, coarse to fine, and a cascaded one, aligns every frame's
features to the centre frame's. Section 3.2 of arXiv 1905.02716.
"""
import typing

from edvr.config.model import ModelConfig
from edvr.ops.base import Ops, Tensor

SCOPE = 'pcd_align'
LEVELS = ('l3', 'l2', 'l1', 'cas')   # in the order of computation


def align(ops: Ops, features: typing.Sequence[Tensor], config: ModelConfig
          ) -> typing.Tuple[Tensor, typing.Dict[str, Tensor]]:
    """Aligns all frames of a window, the centre frame included, to its centre frame.

    Args:
      ops: the operations to use.
      features: the pyramid (l1, l2, l3): float32 [N, T, H, W, C], [N, T, H/2, W/2, C], [N, T, H/4, W/4, C].
      config: of the network.
    Returns:
      float32 [N, T, H, W, C], and {'l3', 'l2', 'l1', 'cas'} -> float32 scalar, the mean |offset| in pixels.
    """
    T, sizes = config.num_frames, ops.sizes(features[0])
    frames = [ops.frames(level) for level in features]
    references = [ops.frame(level, T // 2) for level in features]
    feature, means = _align(ops, frames, references, T, {}, config)
    return ops.windows(ops.lrelu(feature), sizes), means


def align_frame(ops: Ops, frame: typing.Sequence[Tensor], terms: typing.Dict[str, Tensor], config: ModelConfig
                ) -> Tensor:
    """Aligns one frame; the frames of a window one after the other take less memory than `align`.

    Args:
      ops: the operations to use.
      frame: its pyramid, float32 [N, H, W, C], [N, H/2, W/2, C], [N, H/4, W/4, C].
      terms: the `reference_terms` of the centre frame.
      config: of the network.
    Returns:
      float32 [N, H, W, C].
    """
    return ops.lrelu(_align(ops, frame, frame, 1, terms, config)[0])


def reference_terms(ops: Ops, centre: typing.Sequence[Tensor], config: ModelConfig) -> typing.Dict[str, Tensor]:
    """Returns what the alignment computes of the centre frame for all frames: {layer: float32 [N, h, w, C]}.

    Args:
      ops: the operations to use.
      centre: the pyramid of the centre frame.
      config: of the network.
    """
    layers = [('offset_conv1/' + level, centre[index]) for index, level in enumerate(('l1', 'l2', 'l3'))]
    with ops.scope(SCOPE):
        return {name: ops.reference_term(level, config.channels, name)
                for name, level in layers + [('cas_offset_conv1', centre[0])]}


def _align(ops, frames, references, T, terms, config):
    """Aligns pyramids of [N*T, h, w, C] to those of [N, h, w, C]; the last activation is left to the caller.

    Returns:
      float32 [N*T, H, W, C] and the means of `align`. `references` serve the layers that `terms` does not have.
    """
    C, G, means = config.channels, config.deform_groups, {}
    with ops.scope(SCOPE):
        up_offset = up_feature = None
        for index, level in ((2, 'l3'), (1, 'l2'), (0, 'l1')):
            offset = _offset_features(ops, frames[index], references[index], T, terms, up_offset, level)
            feature, means[level] = ops.deform_conv(frames[index], offset, C, G, 'dcn_pack/' + level)
            if up_feature is None:
                feature = ops.lrelu(feature)
            else:
                feature = ops.conv([feature, up_feature], C, 'feat_conv/' + level,
                                   activation='lrelu' if index else None)
            if index > 0:
                # twice the size, so twice the distance in pixels
                up_offset, up_feature = ops.upsample(offset, 2, gain=2.0), ops.upsample(feature, 2)
        offset = ops.conv_with_reference(feature, references[0], C, T, 'cas_offset_conv1', 'lrelu',
                                         terms.get('cas_offset_conv1'))
        offset = ops.conv(offset, C, 'cas_offset_conv2', activation='lrelu')
        feature, means['cas'] = ops.deform_conv(feature, offset, C, G, 'cas_dcnpack')
    return feature, means


def _offset_features(ops, frames, reference, T, terms, up_offset, level):
    """Returns the input of a level's offset prediction: float32 [N*T, h, w, C].

    `up_offset` comes from the coarser level; the coarsest has none.
    """
    C, name = ops.channels(frames), 'offset_conv1/' + level
    x = ops.conv_with_reference(frames, reference, C, T, name, 'lrelu', terms.get(name))
    if up_offset is None:
        return ops.conv(x, C, 'offset_conv2/' + level, activation='lrelu')
    x = ops.conv([x, up_offset], C, 'offset_conv2/' + level, activation='lrelu')
    return ops.conv(x, C, 'offset_conv3/' + level, activation='lrelu')
