"""The network plain: EDVR without alignment and attention, the baseline of comparisons.

The features of the frames are concatenated and fused by one convolution; extraction, residual blocks and sub-pixel
convolutions are those of EDVR, and so are the names of their layers.
"""
import typing

from edvr.network import reconstruction
from edvr.network.base import SCOPE, FrameStage, Network, Outputs, Values
from edvr.network.predeblur import first_features
from edvr.ops.base import Ops, Tensor


class Plain(Network):
    """Residual blocks over the concatenated frames; its features have one level, of whole resolution (H/4 with hr_in).

    The options deform_groups and with_tsa have no effect, recompute neither: no values of all frames are kept.
    """

    HALO_ROWS = 2   # one convolution at the size of the features, the others at larger ones

    def extract_features(self, ops: Ops, frames: Tensor) -> Values:
        frames = ops.as_float(frames)
        self.check_size(ops, frames)
        with ops.scope(SCOPE):
            x = first_features(ops, frames, self.config)
            return (ops.residual_blocks(x, self.config.num_extract_block, 'feature_extraction'),)

    def restore_features(self, ops: Ops, features: typing.Sequence[Tensor], centre: Tensor, recompute: bool = False
                         ) -> Outputs:
        return Outputs(self.upsample_to_output(ops, self._trunk(ops, ops.stack(features[0])), centre), {})

    def frame_stages(self) -> typing.Sequence[FrameStage]:
        return []

    def trunk(self, ops: Ops, frames: typing.Sequence[Values]) -> Tensor:
        return self._trunk(ops, [x for x, in frames])

    def _trunk(self, ops, frames):
        """Returns float32 [N, H, W, C] from the features of all frames: [N, H, W, T*C], or T of [N, H, W, C]."""
        with ops.scope(SCOPE):
            with ops.scope('fusion'):
                x = ops.conv(frames, self.config.channels, 'concat_conv', activation='lrelu')
            return reconstruction.trunk(ops, x, self.config)

    def upsample_to_output(self, ops: Ops, x: Tensor, centre: Tensor) -> Tensor:
        with ops.scope(SCOPE):
            return reconstruction.upsample_to_output(ops, x, ops.as_float(centre), self.config)
