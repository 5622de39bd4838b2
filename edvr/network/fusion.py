"""Fusion of the aligned frames: temporal and spatial attention (TSA), or one 1x1 convolution.

Formulas: section 3.3 of arXiv 1905.02716; the spatial attention's wiring as in the reference implementation.
"""
import tensorflow.compat.v1 as tf

from edvr.ops.layers import avg_pool, conv2d, max_pool, shape_of, upsample

SCOPE = 'fusion'


def fuse(aligned, config):
    """Fuses the T aligned feature maps into one.

    Args:
      aligned: float32 [N, T, H, W, C], all aligned to the centre frame; H, W multiples of 4 for TSA.
      config: ModelConfig.
    Returns:
      float32 [N, H, W, C].
    """
    if not config.with_tsa:
        return conv2d(stack_frames(aligned), config.channels, SCOPE, size=1)
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        stacked = stack_frames(temporal_attention(aligned, config))
        return _fuse_weighted(stacked, config)


def fuse_weighted(weighted, config):
    """`fuse` for frames one after the other: the rest of it.

    Args:
      weighted: list of T float32 [N, H, W, C], `weigh` of each aligned frame; without TSA the aligned frames.
      config: ModelConfig.
    """
    if not config.with_tsa:
        return conv2d(weighted, config.channels, SCOPE, size=1)
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        return _fuse_weighted(weighted, config)


def _fuse_weighted(stacked, config):
    feature = conv2d(stacked, config.channels, 'feat_fusion', size=1, activation='lrelu')
    return spatial_attention(feature, stacked, config)


def stack_frames(aligned):
    """[N, T, H, W, C] -> [N, H, W, T*C], frame by frame."""
    N, T, H, W, C = shape_of(aligned)
    return tf.reshape(tf.transpose(aligned, [0, 2, 3, 1, 4]), [N, H, W, T * C])


def temporal_attention(aligned, config):
    """Each frame times the sigmoid of the correlation of its embedding with that of the centre frame; same shape."""
    N, T, H, W, C = shape_of(aligned)
    reference = conv2d(aligned[:, config.num_frames // 2], C, 'temporal_attn1')
    embedding = conv2d(tf.reshape(aligned, [N * T, H, W, C]), C, 'temporal_attn2')
    embedding = tf.reshape(embedding, [N, T, H, W, C])
    return _weigh(aligned, embedding, reference[:, tf.newaxis])


def reference_embedding(aligned):
    """The embedding of the aligned centre frame, for `weigh`; float32 [N, H, W, C] both ways."""
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        return conv2d(aligned, int(aligned.shape[-1]), 'temporal_attn1')


def weigh(aligned, reference):
    """`temporal_attention` of one frame; float32 [N, H, W, C] both ways.

    Args:
      aligned: float32 [N, H, W, C].
      reference: the `reference_embedding` of the centre frame.
    """
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
        return _weigh(aligned, conv2d(aligned, int(aligned.shape[-1]), 'temporal_attn2'), reference)


def _weigh(aligned, embedding, reference):
    correlation = tf.reduce_sum(embedding * reference, axis=-1, keepdims=True)
    return aligned * tf.sigmoid(correlation)


def spatial_attention(feature, stacked, config):
    """Gates `feature` by a two-level attention over space.

    Args:
      feature: float32 [N, H, W, C], the fused frames.
      stacked: float32 [N, H, W, T*C], the frames before fusion; or a list of T, [N, H, W, C] each.
      config: ModelConfig.
    Returns:
      float32 [N, H, W, C].
    """
    C = config.channels
    attention = conv2d(stacked, C, 'spatial_attn1', size=1, activation='lrelu')
    attention = conv2d([max_pool(attention), avg_pool(attention)], C, 'spatial_attn2', size=1, activation='lrelu')
    level = conv2d(attention, C, 'spatial_attn_l1', size=1, activation='lrelu')
    level = conv2d([max_pool(level), avg_pool(level)], C, 'spatial_attn_l2', activation='lrelu')
    level = upsample(conv2d(level, C, 'spatial_attn_l3', activation='lrelu'), 2)
    attention = conv2d(attention, C, 'spatial_attn3', activation='lrelu') + level
    attention = upsample(conv2d(attention, C, 'spatial_attn4', size=1, activation='lrelu'), 2)
    attention = conv2d(attention, C, 'spatial_attn5')
    shift = conv2d(attention, C, 'spatial_attn_add1', size=1, activation='lrelu')
    shift = conv2d(shift, C, 'spatial_attn_add2', size=1)
    # the factor 2 makes the gate start near 1
    return feature * tf.sigmoid(attention) * 2.0 + shift
