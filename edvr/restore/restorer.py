"""Restores the frames of a clip as a stream, with a checkpoint or an exported graph."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.config.export import OPEN
from edvr.config.restoration import RestoreConfig
from edvr.devices import device_of
from edvr.exporting.description import is_exported
from edvr.network.engine import Engine, FeatureEngine
from edvr.restore import ensemble, memory, tile_choice
from edvr.restore.compiled_graph import load_graph
from edvr.restore.engine import CheckpointEngine
from edvr.restore.frame_plan import FramePlan
from edvr.restore.network_info import check_given
from edvr.restore.pixels import to_uint8
from edvr.restore.sliding_window import only_uint8, windows
from edvr.restore.tiling import Tiling


def load_engine(options: RestoreConfig) -> Engine:
    """Loads the network that `options.checkpoint` names: a CheckpointEngine, CompiledGraph, FrozenGraph or FrozenParts.

    Raises:
      UserError: no network there, see these classes; a device that is absent.
    """
    path = options.checkpoint
    check_given(path)
    device_of(RuntimeConfig(device=options.device)).require()
    compute = 'bf16' if options.compute == 'bf16' else 'exact' if options.exact else 'fast'
    if is_exported(path):
        return load_graph(path, options.kernels, options.device, options.intra_op_threads, compute,
                          options.trust_graph)
    return CheckpointEngine(path, options.kernels, options.device, options.use_ema, options.intra_op_threads, compute,
                            npu_dcn=options.npu_dcn, soc_version=options.soc_version)


class Restorer:
    """Restores clips of any length and size in bounded memory.

    Attributes:
      options: RestoreConfig.
      engine: the loaded network.
      config: the known properties of the network; at least num_frames, scale, upscale, size_multiple.
      path: the checkpoint's prefix, or the exported graph's path.
      step: training step of the checkpoint; None for an exported graph.
      reads_uint16: whether frames may be uint16; exported graphs read uint8.
      tiling: the Tiling of the clip that is being restored; None before the first frame.
    """

    def __init__(self, network: typing.Union[str, RestoreConfig], engine: typing.Optional[Engine] = None,
                 **options: typing.Any) -> None:
        """Loads the network.

        Args:
          network: RestoreConfig; or the path of a training directory, a checkpoint prefix or an exported graph (.pb,
            SavedModel, or a file of an export in parts).
          engine: a loaded network to use instead.
          options: fields of RestoreConfig that differ from `network`, or from the defaults; `tile` may be an int.
        Raises:
          UserError: an option is wrong; the errors of `load_engine`.
        """
        options = RestoreConfig.current_names(options)
        if 'tile' in options:
            options['tile'] = str(options['tile'])
        given = network if isinstance(network, RestoreConfig) else RestoreConfig(checkpoint=str(network))
        self.options = given.replace(**options)
        self.engine = load_engine(self.options) if engine is None else engine
        self.path, self.config, self.step = self.engine.path, self.engine.config, self.engine.step
        self.options = self.options.for_network(self.config)
        self.reads_uint16 = self.engine.READS_UINT16
        self.tiling: typing.Optional[Tiling] = None
        self._footprint: typing.Optional[memory.Footprint] = None   # measured when --tile=auto needs it

    def __enter__(self) -> 'Restorer':
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session of the engine."""
        self.engine.close()

    def restore(self, frames: np.ndarray, dtype: typing.Any = np.uint8) -> np.ndarray:
        """Restores a clip that is in memory; `restore_clip` takes longer ones.

        Args:
          frames: uint8 or uint16 [T, H, W, 3], RGB, at least one frame.
          dtype: of the result: np.uint8, clipped and rounded as files store it, or np.float32, in [0, 1] up to
            overshoot (not clipped).
        Returns:
          [T, s*H, s*W, 3] of `dtype`.
        Raises:
          UserError: the errors of `restore_clip`.
          ValueError: no frames, or another dtype.
        """
        if dtype not in (np.uint8, np.float32):
            raise ValueError('dtype is %s; it must be np.uint8 or np.float32' % (dtype,))
        if not len(frames):
            raise ValueError('frames has length 0; at least one frame is needed')
        convert = to_uint8 if dtype == np.uint8 else np.asarray
        return np.stack([convert(sr) for sr in self.restore_clip(frames, len(frames))])

    def restore_clip(self, frames: typing.Iterable[np.ndarray], length: typing.Optional[int] = None,
                     start: int = 0) -> typing.Iterator[np.ndarray]:
        """Restores a clip frame by frame, as a generator.

        It holds at most num_frames frames, for any length of the clip, and reads num_frames // 2 frames ahead
        (num_frames at the start of the clip).

        Args:
          frames: iterable of uint8 [H, W, 3], all of one size; or of uint16, whose 65535 is white.
          length: number of frames if it is known; a clip that ends earlier is then an error.
          start: index of the first frame to restore; the frames before it are read and not restored.
        Yields:
          float32 [s*H, s*W, 3] for each frame from `start` on, in [0, 1] up to overshoot (not clipped).
        Raises:
          UserError: frames of several sizes, an early end, or output that is not finite.
        """
        plan = None
        frames = frames if self.reads_uint16 else only_uint8(frames)
        for index, window, buffer in windows(frames, self.config.num_frames, self.options.fill, length, start):
            if plan is None:
                plan = self._plan(buffer[index].shape)
            sr = plan.frame(index, window, buffer)
            if not np.isfinite(sr.sum(dtype=np.float64)):
                raise UserError('frame %d: the output of the network contains NaN or Inf: check its weights' % index)
            yield sr

    def _plan(self, shape: typing.Tuple[int, ...]) -> FramePlan:
        fixed = (0, 0)
        interface = self.engine.interface
        if interface:   # of an exported graph
            height, width = (0 if side == OPEN else side for side in (interface.height, interface.width))
            fixed = height, width
        self.tiling, cache_bytes = tile_choice.plan((shape[0], shape[1]), self.options, self.config, self._measured,
                                                    fixed, isinstance(self.engine, FeatureEngine))
        return FramePlan(self.engine, shape, self.tiling, cache_bytes, ensemble.versions(self.options.ensemble))

    def _measured(self) -> memory.Footprint:
        if self._footprint is None:
            self._footprint = memory.footprint(self.engine)
        memory.trim()   # windows of another size leave memory in pieces that this size may not fit
        return self._footprint
