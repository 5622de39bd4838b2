"""What training, restoring and export need of a network that restores the centre frame of a window."""
import abc
import typing

from data_tools.base.errors import UserError
from edvr.config.model import ModelConfig
from edvr.ops.base import Ops, Tensor

Values = typing.Tuple[Tensor, ...]   # of one frame

SCOPE = 'edvr'   # every variable of every network has a name in this scope


class Outputs(typing.NamedTuple):
    """The outputs of a network.

    Attributes:
      sr: float32 [N, s*H, s*W, 3], in [0, 1] but not clipped.
      offset_means: deformable convolution -> float32 scalar, its mean |offset| in pixels.
    """
    sr: Tensor
    offset_means: typing.Dict[str, Tensor]


class FrameStage(typing.NamedTuple):
    """A stage that computes each frame of a window from itself and from terms of the centre frame.

    Attributes:
      reference_terms: function(ops, values of the centre frame) -> dict of tensors, computed once for a window.
      apply: function(ops, values of a frame, those terms) -> tuple of tensors, its values for the next stage.
    """
    reference_terms: typing.Callable[[Ops, Values], typing.Dict[str, Tensor]]
    apply: typing.Callable[[Ops, Values, typing.Dict[str, Tensor]], Values]


class Network(abc.ABC):
    """A network, from its frames or in parts.

    Frames are RGB in [0, 1], or uint8. Letters: N batch, T frames, H W input size, C channels, s scale (output size
    over input size), h w size of the features.

    Attributes:
      config: ModelConfig.
    """

    HALO_ROWS = 0   # rows of its inputs, above and below its own, that an output row of `upsample_to_output` depends on

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def restore(self, ops: Ops, lq: Tensor, recompute: bool = False) -> Outputs:
        """Restores the centre frame of each window.

        Args:
          ops: the operations to use.
          lq: uint8, or float32 in [0, 1], [N, T, H, W, 3]; N, H, W may be unknown. T must be config.num_frames; H, W
            multiples of config.size_multiple.
          recompute: whether to compute the values that take the most memory again in the backward pass instead of
            keeping them.
        Raises:
          UserError: a known size does not fit.
        """
        T, given = self.config.num_frames, ops.shape(lq)[1]
        if given not in (None, T):
            raise UserError('a window has %d frames; this network takes num_frames=%d' % (given, T))
        lq = ops.as_float(lq)
        N, _, H, W, _ = ops.sizes(lq)
        features = self.extract_features(ops, ops.frames(lq, [N, T, H, W, 3]))
        windows = [ops.windows(level, [N, T]) for level in features]
        return self.restore_features(ops, windows, ops.frame(lq, T // 2), recompute)

    @abc.abstractmethod
    def extract_features(self, ops: Ops, frames: Tensor) -> Values:
        """Returns the features of each frame, which depend only on that frame: those of a clip can be kept.

        Args:
          ops: the operations to use.
          frames: uint8, or float32 in [0, 1], [B, H, W, 3].
        Returns:
          float32 [B, h, w, C] each.
        """

    @abc.abstractmethod
    def restore_features(self, ops: Ops, features: typing.Sequence[Tensor], centre: Tensor, recompute: bool = False
                         ) -> Outputs:
        """Restores the centre frame of each window from the features of its frames.

        Args:
          ops: the operations to use.
          features: those of `extract_features`, as windows: float32 [N, T, h, w, C] each.
          centre: uint8, or float32 in [0, 1], [N, H, W, 3], the centre frame.
          recompute: as in `restore`.
        """

    @abc.abstractmethod
    def frame_stages(self) -> typing.Sequence[FrameStage]:
        """Returns the stages between `extract_features` and `trunk`, for one frame after the other.

        A caller that runs them so needs memory for the intermediate values of one frame only. The first stage takes the
        features of a frame. After the last, `trunk` and `upsample_to_output` give the values of `restore_features`.
        """

    @abc.abstractmethod
    def trunk(self, ops: Ops, frames: typing.Sequence[Values]) -> Tensor:
        """Returns float32 [N, h, w, C] from the values of the T frames after the last frame stage."""

    @abc.abstractmethod
    def upsample_to_output(self, ops: Ops, x: Tensor, centre: Tensor) -> Tensor:
        """Returns the restored frame, float32 [N, s*H, s*W, 3], not clipped.

        Args:
          ops: the operations to use.
          x: float32 [N, h, w, C], of `trunk`.
          centre: uint8, or float32 in [0, 1], [N, H, W, 3], the centre frame.
        """

    def check_size(self, ops: Ops, frames: Tensor) -> None:
        """Raises UserError if a known height or width of frames [B, H, W, 3] does not fit the network."""
        multiple = self.config.size_multiple
        for name, size in zip(('height', 'width'), ops.shape(frames)[1:3]):
            if size is not None and (size % multiple or size < multiple):
                raise UserError('input %s is %d; it must be a multiple of %d%s: crop or pad the frames (e.g. to %d)'
                                % (name, size, multiple, ' with hr_in' if self.config.hr_in else '',
                                   max(multiple, -(-size // multiple) * multiple)))
