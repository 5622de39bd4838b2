"""Fusion of the aligned frames: temporal and spatial attention (TSA), or one 1x1 convolution.

Formulas: section 3.3 of arXiv 1905.02716; the spatial attention's wiring as in the reference implementation.
"""
import typing

from edvr.config.model import ModelConfig
from edvr.ops.base import Ops, Tensor

SCOPE = 'fusion'
Frames = typing.Union[Tensor, typing.List[Tensor]]   # [N, H, W, T*C], or a list of T, [N, H, W, C] each


def fuse(ops: Ops, aligned: Tensor, config: ModelConfig) -> Tensor:
    """Fuses the T aligned feature maps of a window into one.

    Args:
      ops: the operations to use.
      aligned: float32 [N, T, H, W, C], all aligned to the centre frame; H, W multiples of 4 for TSA.
      config: of the network.
    Returns:
      float32 [N, H, W, C].
    """
    if not config.with_tsa:
        return fuse_attended(ops, ops.stack(aligned), config)
    with ops.scope(SCOPE):
        return _fuse_with_tsa(ops, ops.stack(temporal_attention(ops, aligned, config)), config)


def fuse_attended(ops: Ops, attended: Frames, config: ModelConfig) -> Tensor:
    """Fuses frames after the temporal attention, or the aligned frames without TSA; the rest of `fuse`."""
    if not config.with_tsa:
        return ops.conv(attended, config.channels, SCOPE, size=1)
    with ops.scope(SCOPE):
        return _fuse_with_tsa(ops, attended, config)


def _fuse_with_tsa(ops, attended, config):
    feature = ops.conv(attended, config.channels, 'feat_fusion', size=1, activation='lrelu')
    return spatial_attention(ops, feature, attended)


def temporal_attention(ops: Ops, aligned: Tensor, config: ModelConfig) -> Tensor:
    """Applies the temporal attention to all frames of a window: float32 [N, T, H, W, C] both ways."""
    C, sizes = config.channels, ops.sizes(aligned)
    reference = ops.conv(ops.frame(aligned, config.num_frames // 2), C, 'temporal_attn1')
    embedding = ops.windows(ops.conv(ops.frames(aligned, sizes), C, 'temporal_attn2'), sizes)
    return apply_temporal_attention(ops, aligned, embedding, ops.as_window(reference))


def reference_embedding(ops: Ops, aligned: Tensor) -> Tensor:
    """Returns the embedding of the aligned centre frame, for `attend_frame`: float32 [N, H, W, C] both ways."""
    with ops.scope(SCOPE):
        return ops.conv(aligned, ops.channels(aligned), 'temporal_attn1')


def attend_frame(ops: Ops, aligned: Tensor, reference: Tensor) -> Tensor:
    """Applies the temporal attention to one frame: float32 [N, H, W, C] both ways.

    Args:
      ops: the operations to use.
      aligned: float32 [N, H, W, C].
      reference: the `reference_embedding` of the centre frame.
    """
    with ops.scope(SCOPE):
        embedding = ops.conv(aligned, ops.channels(aligned), 'temporal_attn2')
        return apply_temporal_attention(ops, aligned, embedding, reference)


def apply_temporal_attention(ops: Ops, aligned: Tensor, embedding: Tensor, reference: Tensor) -> Tensor:
    """Returns frames times the sigmoid of the correlation of their embeddings with that of the centre frame.

    Args:
      ops: the operations to use.
      aligned, embedding: float32 [..., H, W, C].
      reference: the embedding of the centre frame, of a shape that broadcasts.
    """
    correlation = ops.sum_channels(ops.mul(embedding, reference))
    return ops.mul(aligned, ops.sigmoid(correlation))


def spatial_attention(ops: Ops, feature: Tensor, stacked: Frames) -> Tensor:
    """Gates `feature` by a two-level attention over space.

    Args:
      ops: the operations to use.
      feature: float32 [N, H, W, C], the fused frames.
      stacked: the frames before fusion.
    Returns:
      float32 [N, H, W, C].
    """
    C = ops.channels(feature)
    attention = ops.conv(stacked, C, 'spatial_attn1', size=1, activation='lrelu')
    attention = ops.conv(ops.pools(attention), C, 'spatial_attn2', size=1, activation='lrelu')
    level = ops.conv(attention, C, 'spatial_attn_l1', size=1, activation='lrelu')
    level = ops.conv(ops.pools(level), C, 'spatial_attn_l2', activation='lrelu')
    level = ops.upsample(ops.conv(level, C, 'spatial_attn_l3', activation='lrelu'), 2)
    attention = ops.add(ops.conv(attention, C, 'spatial_attn3', activation='lrelu'), level)
    attention = ops.upsample(ops.conv(attention, C, 'spatial_attn4', size=1, activation='lrelu'), 2)
    attention = ops.conv(attention, C, 'spatial_attn5')
    shift = ops.conv(attention, C, 'spatial_attn_add1', size=1, activation='lrelu')
    shift = ops.conv(shift, C, 'spatial_attn_add2', size=1)
    # the factor 2 makes the gate start near 1
    return ops.add(ops.scale(ops.mul(feature, ops.sigmoid(attention)), 2.0), shift)
