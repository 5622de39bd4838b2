"""The network EDVR: features of every frame, alignment to the centre frame, fusion, reconstruction.

arXiv 1905.02716. The frames of a window are one batch through extraction and alignment. Layers have the names of the
reference implementation.
"""
import typing

from edvr.network import alignment, fusion, reconstruction
from edvr.network.base import SCOPE, FrameStage, Network, Outputs, Values
from edvr.network.predeblur import first_features
from edvr.ops.base import Ops, Tensor


class Edvr(Network):
    """EDVR; its features are a pyramid (l1, l2, l3) of whole, half and quarter resolution (of H/4 with hr_in)."""

    HALO_ROWS = 2   # one convolution at the size of the features, the others at larger ones

    def extract_features(self, ops: Ops, frames: Tensor) -> Values:
        C, frames = self.config.channels, ops.as_float(frames)
        self.check_size(ops, frames)
        with ops.scope(SCOPE):
            l1 = first_features(ops, frames, self.config)
            l1 = ops.residual_blocks(l1, self.config.num_extract_block, 'feature_extraction')
            l2 = ops.conv(l1, C, 'conv_l2_1', stride=2, activation='lrelu')
            l2 = ops.conv(l2, C, 'conv_l2_2', activation='lrelu')
            l3 = ops.conv(l2, C, 'conv_l3_1', stride=2, activation='lrelu')
            l3 = ops.conv(l3, C, 'conv_l3_2', activation='lrelu')
        return l1, l2, l3

    def restore_features(self, ops: Ops, features: typing.Sequence[Tensor], centre: Tensor, recompute: bool = False
                         ) -> Outputs:
        def align(*levels):
            aligned, means = alignment.align(ops, levels, self.config)
            return [aligned] + [means[name] for name in sorted(means)], sorted(means)

        with ops.scope(SCOPE):
            (aligned, *values), names = ops.recompute(align, features) if recompute else align(*features)
            fused = fusion.fuse(ops, aligned, self.config)
            centre = ops.as_float(centre)
            x = reconstruction.trunk(ops, fused, self.config)
            sr = reconstruction.upsample_to_output(ops, x, centre, self.config)
        return Outputs(sr, dict(zip(names, values)))

    def frame_stages(self) -> typing.Sequence[FrameStage]:
        stages = [FrameStage(self._reference_terms, self._align_frame)]
        return stages + [FrameStage(self._reference_embedding, self._attend)] * self.config.with_tsa

    def _reference_terms(self, ops, features):
        with ops.scope(SCOPE):
            return alignment.reference_terms(ops, features, self.config)

    def _align_frame(self, ops, features, terms):
        with ops.scope(SCOPE):
            return (alignment.align_frame(ops, features, terms, self.config),)

    def _reference_embedding(self, ops, values):
        with ops.scope(SCOPE):
            return {'reference': fusion.reference_embedding(ops, *values)}

    def _attend(self, ops, values, terms):
        with ops.scope(SCOPE):
            return (fusion.attend_frame(ops, values[0], terms['reference']),)

    def trunk(self, ops: Ops, frames: typing.Sequence[Values]) -> Tensor:
        with ops.scope(SCOPE):
            fused = fusion.fuse_attended(ops, [attended for attended, in frames], self.config)
            return reconstruction.trunk(ops, fused, self.config)

    def upsample_to_output(self, ops: Ops, x: Tensor, centre: Tensor) -> Tensor:
        with ops.scope(SCOPE):
            return reconstruction.upsample_to_output(ops, x, ops.as_float(centre), self.config)
