"""The network EDVR: features of every frame, alignment to the centre frame, fusion, reconstruction.

Conventions: NHWC; frames of a window are one batch through extraction and alignment; frames are RGB in [0, 1] (uint8
is normalised here); every variable is below `edvr/`, named as the reference implementation's layers.

Letters: N batch, T frames, H W input size, C channels, s scale (output size over input size).
"""
import collections
import contextlib

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.network import alignment, fusion, reconstruction
from edvr.network.losses import as_float
from edvr.network.predeblur import first_features
from edvr.ops import recompute
from edvr.ops.layers import conv2d, convolution_gradients, gradients_way, residual_blocks, shape_of

SCOPE = 'edvr'
ENLARGE_REACH = 2   # rows and columns, see `enlarge`: one convolution at the input's size, the others at larger ones

Outputs = collections.namedtuple('Outputs', 'sr offset_means')
Outputs.__doc__ = """The outputs of the network.

sr: float32 [N, s*H, s*W, 3], in [0, 1] but not clipped.
offset_means: {'l3', 'l2', 'l1', 'cas'} -> float32 scalar, mean |offset| in pixels of that deformable convolution.
"""

FrameStages = collections.namedtuple('FrameStages', 'pyramid halves aligned reference weighted')
FrameStages.__doc__ = """What the network computes for one frame of a window.

pyramid: the result of `extract_features`.
halves: {layer: float32 [N, h, w, C]}, what the alignment computes of the centre frame.
aligned: float32 [N, h, w, C], from pyramid and halves.
reference: float32 [N, h, w, C], the embedding of the centre frame for the temporal attention; None without TSA.
weighted: float32 [N, h, w, C], from aligned and reference; aligned itself without TSA.
"""


def edvr(lq, config, dcn_impl='tf', recompute_alignment=False):
    """Restores the centre frame of each window.

    Args:
      lq: uint8, or float32 in [0, 1], [N, T, H, W, 3]; N, H, W may be unknown. T must be config.num_frames; H, W
        multiples of config.size_multiple.
      config: ModelConfig.
      dcn_impl: 'tf', 'native' or 'npu', see `deform_conv.resolve_impl`.
      recompute_alignment: bool; compute the intermediate values of the alignment again in the backward pass instead of
        keeping them (less memory, more time).
    Returns:
      Outputs.
    Raises:
      UserError: when a known size does not fit.
    """
    frames = lq.shape.as_list()[1]
    if frames not in (None, config.num_frames):
        raise UserError('a window has %d frames; this network takes num_frames=%d' % (frames, config.num_frames))
    lq = as_float(lq)
    N, _, H, W, _ = shape_of(lq)
    pyramid = extract_features(tf.reshape(lq, [N * config.num_frames, H, W, 3]), config, dcn_impl)
    windows = []
    for level in pyramid:
        _, h, w, C = shape_of(level)
        windows.append(tf.reshape(level, [N, config.num_frames, h, w, C]))
    return restore_features(windows, lq[:, config.num_frames // 2], config, dcn_impl, recompute_alignment)


@contextlib.contextmanager
def _layers(dcn_impl):
    """Context in which the layers of the network are made.

    The compiled deformable convolution runs on CPUs only, together with compiled plain convolutions.
    """
    way = 'native' if dcn_impl == 'native' else gradients_way()
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE), convolution_gradients(way):
        yield


def extract_features(frames, config, dcn_impl='tf'):
    """The feature pyramid of each frame. It depends only on that frame, so the pyramids of a clip can be kept.

    Args:
      frames: uint8, or float32 in [0, 1], [B, H, W, 3].
      config, dcn_impl: as in `edvr`.
    Returns:
      (l1, l2, l3): float32 [B, h, w, C], [B, h/2, w/2, C], [B, h/4, w/4, C]; h = H, with hr_in H/4.
    """
    frames = as_float(frames)
    check_size(frames.shape.as_list()[1], frames.shape.as_list()[2], config)
    C = config.channels
    with _layers(dcn_impl):
        l1 = residual_blocks(first_features(frames, config), config.num_extract_block, 'feature_extraction')
        l2 = conv2d(l1, C, 'conv_l2_1', stride=2, activation='lrelu')
        l2 = conv2d(l2, C, 'conv_l2_2', activation='lrelu')
        l3 = conv2d(l2, C, 'conv_l3_1', stride=2, activation='lrelu')
        l3 = conv2d(l3, C, 'conv_l3_2', activation='lrelu')
    return l1, l2, l3


def restore_features(features, centre, config, dcn_impl='tf', recompute_alignment=False):
    """The rest of the network, from the pyramids of a window's frames.

    Args:
      features: (l1, l2, l3), each float32 [N, T, h, w, C], of `extract_features`.
      centre: uint8, or float32 in [0, 1], [N, H, W, 3], the centre frame.
      config, dcn_impl, recompute_alignment: as in `edvr`.
    Returns:
      Outputs.
    """
    with _layers(dcn_impl):
        def align(*levels):
            aligned, means = alignment.align(levels, config, dcn_impl)
            return [aligned] + [means[name] for name in sorted(means)], sorted(means)

        if recompute_alignment:
            (aligned, *values), names = recompute.recompute(align, features)
        else:
            (aligned, *values), names = align(*features)
        sr = reconstruction.reconstruct(fusion.fuse(aligned, config), as_float(centre), config)
    return Outputs(sr, dict(zip(names, values)))


def frame_stages(frame, config, dcn_impl='tf'):
    """The network up to the fusion for one frame of each window.

    A caller that runs the stages of one frame after the other feeds the values of earlier stages, and `halves` and
    `reference` with those of the centre frame. So it needs memory for the intermediate values of one frame only.

    Args:
      frame: uint8, or float32 in [0, 1], [N, H, W, 3].
      config, dcn_impl: as in `edvr`.
    Returns:
      FrameStages.
    """
    pyramid = extract_features(frame, config, dcn_impl)
    with _layers(dcn_impl):
        halves = alignment.reference_halves(pyramid, config)
        aligned = alignment.align_frame(pyramid, halves, config, dcn_impl)
        if not config.with_tsa:
            return FrameStages(pyramid, halves, aligned, None, aligned)
        reference = fusion.reference_embedding(aligned)
        return FrameStages(pyramid, halves, aligned, reference, fusion.weigh(aligned, reference))


def refine(weighted, config, dcn_impl='tf'):
    """Fuses the frames of a window and refines the result.

    Args:
      weighted: list of T float32 [N, h, w, C], see `FrameStages`.
      config, dcn_impl: as in `edvr`.
    Returns:
      float32 [N, h, w, C].
    """
    with _layers(dcn_impl):
        return reconstruction.refine(fusion.fuse_weighted(weighted, config), config)


def enlarge(refined, centre, config, dcn_impl='tf'):
    """The restored frame from refined features, the last part of the network.

    An output row depends on at most ENLARGE_REACH rows of `refined` and `centre` above and below its own.

    Args:
      refined: float32 [N, h, w, C], the result of `refine`.
      centre: uint8, or float32 in [0, 1], [N, H, W, 3], the centre frame.
      config, dcn_impl: as in `edvr`.
    Returns:
      float32 [N, s*H, s*W, 3], not clipped.
    """
    with _layers(dcn_impl):
        return reconstruction.enlarge(refined, as_float(centre), config)


def check_size(height, width, config):
    """Raises UserError when an input size (int, pixels; None = unknown) does not fit the network."""
    multiple = config.size_multiple
    for name, size in (('height', height), ('width', width)):
        if size is not None and (size % multiple or size < multiple):
            raise UserError('input %s is %d; it must be a multiple of %d%s: crop or pad the frames (e.g. to %d)'
                            % (name, size, multiple, ' with hr_in' if config.hr_in else '',
                               max(multiple, -(-size // multiple) * multiple)))
