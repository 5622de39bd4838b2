"""The architecture of the network, needed to build it and to read its checkpoints."""
import dataclasses
import typing

from data_tools.base.config import Config, option


class NetworkKind(typing.NamedTuple):
    """What the options know of a network; `edvr.network.networks` builds it.

    Attributes:
      help: what it is.
      is_deformable: whether it has deformable convolutions, and so deform_groups.
    """
    help: str
    is_deformable: bool


NETWORKS = {
    'edvr': NetworkKind('deformable alignment and attention', is_deformable=True),
    'plain': NetworkKind('the same without alignment and attention, the baseline of comparisons', is_deformable=False),
}


@dataclasses.dataclass(frozen=True)
class ModelConfig(Config):
    """Architecture of a network. It is saved beside the checkpoints: evaluate, infer and export read it there."""

    TITLE = 'network'
    PRESETS = {'M': dict(channels=64, num_reconstruct_block=10),
               'L': dict(channels=128, num_reconstruct_block=40)}

    network: str = option('edvr', 'the network: ' + ', '.join(
        '%s (%s)' % (name, kind.help) for name, kind in NETWORKS.items()), choices=tuple(NETWORKS), common=True,
                          compared=True)
    num_frames: int = option(5, 'frames in a window (T), odd; the centre one is restored', low=1, common=True)
    scale: int = option(4, 'upscaling factor; with hr_in the input already has the output size', choices=(2, 3, 4),
                        common=True)
    channels: int = option(64, 'feature channels (C)', low=1, compared=True)
    deform_groups: int = option(8, 'groups of the deformable convolutions (G); must divide channels', low=1)
    num_extract_block: int = option(5, 'residual blocks of the feature extraction', low=0)
    num_reconstruct_block: int = option(10, 'residual blocks of the reconstruction', low=0, compared=True)
    with_tsa: bool = option(True, 'temporal and spatial attention in the fusion; without it a 1x1 convolution fuses',
                            compared=True)
    with_predeblur: bool = option(False, 'predeblur module in front, for blurred input')
    hr_in: bool = option(False, 'input frames already have the output size (deblurring, denoising): no upscaling')

    def problems(self) -> typing.Iterator[str]:
        if self.num_frames % 2 == 0:
            yield 'num_frames is %d; a window has a centre frame, so it must be odd' % self.num_frames
        if NETWORKS[self.network].is_deformable and self.channels % self.deform_groups:
            yield 'deform_groups is %d, which does not divide channels (%d)' % (self.deform_groups, self.channels)

    @property
    def size_multiple(self) -> int:
        """Returns what input height and width must be multiples of."""
        return 16 if self.hr_in else 4

    @property
    def fill(self) -> str:
        """Returns the fill of windows at the ends of a clip with which the published networks were evaluated."""
        return 'replicate' if self.with_predeblur else 'reflection_circle'

    @property
    def is_deformable(self) -> bool:
        """Returns whether the network has deformable convolutions."""
        return NETWORKS[self.network].is_deformable

    @property
    def upscale(self) -> int:
        """Returns output size over input size."""
        return 1 if self.hr_in else self.scale
