"""Restores the frames of a clip as a stream, with a checkpoint or an exported graph."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media.windows import window_indices
from edvr import checkpoints
from edvr.config import ModelConfig, RuntimeConfig
from edvr.config.export import OPEN
from edvr.devices import DEVICES, device_of
from edvr.exporting import description
from edvr.exporting.description import is_exported
from edvr.restore import ensemble, memory, tile_choice, tiling
from edvr.restore.compiled_graph import load_graph
from edvr.restore.engine import CheckpointEngine
from edvr.restore.pixels import to_uint8

_FRAMES = 2.5   # restored frames in memory, as float32: this one, and the one before it while it is written as uint8


class Network(typing.NamedTuple):
    """The properties of a network that is not loaded; the fields are those of a Restorer."""
    path: str
    config: ModelConfig
    step: typing.Optional[int]
    reads_uint16: bool

    @classmethod
    def at(cls, path):
        """The Network of a training directory, a checkpoint or an exported graph. Raises UserError as `Restorer`."""
        if not is_exported(path):
            prefix = checkpoints.chosen(path)
            return cls(prefix, checkpoints.load_model_config(path), checkpoints.step_of(prefix), True)
        return cls(path, description.read(path).model, None, False)


class Restorer:
    """Restores clips of any length and size in bounded memory.

    Attributes:
      config: the known properties of the network; at least num_frames, scale, upscale, size_multiple.
      path: the checkpoint's prefix, or the exported graph's path.
      step: training step of the checkpoint; None for an exported graph.
      reads_uint16: bool, whether frames may be uint16; exported graphs read uint8.
      tiling: the tiling.Tiling of the clip that is being restored; None before the first frame.
    """

    def __init__(self, path, fill='reflection_circle', tile=0, tile_overlap=64, memory_gb=8., use_ensemble=False,
                 cached=True, cache_gb=4., dcn_impl='auto', device='cpu', use_ema=True, intra_op_threads=0,
                 exact=False, compute='float32'):
        """Loads the network; the arguments are the options of `RestoreConfig`.

        Args:
          path: training directory, checkpoint prefix, or exported graph (.pb, SavedModel, or a file of an export in
            parts).
          tile: side of the tiles in LQ pixels, 0 for whole frames, or 'auto'.
        Raises:
          UserError: see `CheckpointEngine` and `load_graph`.
        """
        if not path:
            raise UserError('--checkpoint is not given; name a training directory, a checkpoint or an exported graph')
        way = 'bf16' if compute == 'bf16' else 'exact' if exact else 'fast'
        if is_exported(path):
            self._engine = load_graph(path, dcn_impl, device, intra_op_threads, way)
        else:
            self._engine = CheckpointEngine(path, dcn_impl, device, use_ema, intra_op_threads, way)
        self.path = getattr(self._engine, 'prefix', path)
        self.config = self._engine.config
        self.reads_uint16 = isinstance(self._engine, CheckpointEngine)
        self.step = getattr(self._engine, 'step', None)
        self._fill, self._tile, self._overlap = fill, tile, tile_overlap
        self._memory = memory_gb * 2 ** 30
        # a whole graph that is not substituted has no features to keep
        self._cache_bytes = cache_gb * 2 ** 30 if cached and hasattr(self._engine, 'features') else 0
        self._versions = range(ensemble.NUM_TRANSFORMS if use_ensemble else 1)
        self._device = device
        self.tiling = None
        self._footprint = None   # measured when --tile=auto needs it

    @classmethod
    def from_config(cls, config):
        """Returns the Restorer of a RestoreConfig. Also raises UserError if it requests a device that is absent."""
        device_of(RuntimeConfig(device=config.device)).require()
        tile = config.tile if config.tile == 'auto' else int(config.tile)
        return cls(config.checkpoint, config.fill, tile, config.tile_overlap, config.memory_gb, config.ensemble,
                   config.cached, config.cache_gb, config.kernels, config.device, config.use_ema,
                   config.intra_op_threads, config.exact, config.compute)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Frees the session."""
        self._engine.close()

    def restore(self, frames, dtype=np.uint8):
        """Restores a clip that is in memory; for longer ones see `restore_clip`.

        Args:
          frames: uint8 or uint16 [T, H, W, 3], RGB, at least one frame.
          dtype: of the result: np.uint8, clipped and rounded as files store it, or np.float32, in [0, 1] up to
            overshoot (not clipped).
        Returns:
          [T, s*H, s*W, 3] of `dtype`.
        Raises:
          UserError: see `restore_clip`.
          ValueError: no frames, or another dtype.
        """
        if dtype not in (np.uint8, np.float32):
            raise ValueError('dtype is %s; it must be np.uint8 or np.float32' % (dtype,))
        if not len(frames):
            raise ValueError('frames has length 0; at least one frame is needed')
        convert = to_uint8 if dtype == np.uint8 else np.asarray
        return np.stack([convert(sr) for sr in self.restore_clip(frames, len(frames))])

    def restore_clip(self, frames, length=None, start=0):
        """Restores a clip frame by frame, as a generator.

        It holds at most num_frames frames, whatever the length of the clip, and reads num_frames // 2 frames ahead
        (num_frames at the start of the clip).

        Args:
          frames: iterable of uint8 [H, W, 3], all of one size; or of uint16, whose 65535 is white.
          length: number of frames where it is known; a clip that ends earlier is then an error.
          start: index of the first frame to restore; the frames before it are read and not restored.
        Yields:
          float32 [s*H, s*W, 3] for each frame from `start` on, in [0, 1] up to overshoot (not clipped).
        Raises:
          UserError: frames of several sizes, an early end, or output that is not finite.
        """
        plan = None
        frames = frames if self.reads_uint16 else _only_uint8(frames)
        for index, window, buffer in windows(frames, self.config.num_frames, self._fill, length, start):
            if plan is None:
                shape = buffer[index].shape
                self.tiling, cache_bytes = self._tiling(*shape[:2])
                plan = _Plan(self._engine, shape, self.tiling, cache_bytes, self._versions)
            sr = plan.restore(index, window, buffer)
            if not np.isfinite(sr.sum(dtype=np.float64)):
                raise UserError('frame %d: the output of the network contains NaN or Inf: check its weights' % index)
            yield sr

    def _tiling(self, height, width):
        """How frames of this size are padded and cut, and the memory that their kept features may take, bytes."""
        multiple, fixed = self.config.size_multiple, (0, 0)
        interface = getattr(self._engine, 'interface', None)
        if interface:   # of an exported graph
            fixed = tuple(0 if side == OPEN else side for side in (interface.height, interface.width))
        frame = tiling.padded_size(height, width, multiple, fixed)
        tile, cache_bytes = (self._tile or max(frame),) * 2, self._cache_bytes
        if self._tile == 'auto':
            tile, cache_bytes = (fixed, cache_bytes) if all(fixed) else self._auto_tile(*frame)
        sides = [side or wanted for side, wanted in zip(fixed, tile)]
        # a graph exported for one size fixes the tile, so the overlap is reduced
        overlap = min([self._overlap] + [side // 2 for side in fixed if side])
        return tiling.Tiling(frame, sides, overlap, multiple, self.config.upscale), cache_bytes

    def _auto_tile(self, height, width):
        """The tile for a memory budget, (height, width), and the memory for kept features, bytes."""
        if not DEVICES[self._device].ON_HOST:
            raise UserError('--tile=auto measures the memory of this host, not that of --device=%s; give the side '
                            'of a tile, such as --tile=512' % self._device)
        if self._footprint is None:
            self._footprint = memory.footprint(self._engine)
        memory.trim()   # windows of another size leave memory in pieces that this size may not fit
        budget = self._memory - self._footprint.base - _FRAMES * 12 * self.config.upscale ** 2 * height * width
        if budget <= 0:
            raise UserError('--memory_gb=%g is less than %.2f GB: the program, the network and restored frames of this '
                            'size take so much before any tile; raise it'
                            % (self._memory / 2 ** 30, (self._memory - budget) / 2 ** 30))
        kept = memory.kept_bytes_per_pixel(self.config) * len(self._versions) if self._cache_bytes else 0
        choice = tile_choice.choose((height, width), self._overlap, self.config.size_multiple,
                                    self._footprint.per_pixel, budget, kept, self._cache_bytes)
        return choice.tile, self._cache_bytes if choice.keeps else 0


def windows(frames, num_frames, fill, length=None, start=0):
    """The windows of a clip of unknown length; each is yielded as soon as its frames are read.

    The border fills use frames at most num_frames away from an end, so only the last num_frames frames are held.

    Args:
      frames: iterable of frames.
      num_frames, fill: see `data_tools.media.windows.window_indices`.
      length, start: see `Restorer.restore_clip`.
    Yields:
      (index, list of num_frames indices, {index: frame} of the frames held).
    """
    frames, buffer, count, ended, index = iter(frames), {}, 0, False, start
    while True:
        while not ended and count < max(index + num_frames // 2 + 1, num_frames):
            try:
                frame = next(frames)
            except StopIteration:
                ended = True
                if length is not None and count < length:
                    raise UserError('the clip ended after %d of %d frames; is it cut?' % (count, length)) from None
                break
            _check_frame(frame, count, buffer)
            buffer[count] = frame
            buffer.pop(count - num_frames, None)
            count += 1
        if ended and index >= count:
            return
        yield index, window_indices(index, count, num_frames, fill), buffer
        index += 1


def _only_uint8(frames):
    for index, frame in enumerate(frames):
        if frame.dtype == np.uint16:
            raise UserError('frame %d is uint16; exported graphs restore uint8 frames' % index)
        yield frame


def _check_frame(frame, index, buffer):
    if frame.dtype not in (np.uint8, np.uint16) or frame.ndim != 3 or frame.shape[2] != 3:
        raise UserError('frame %d is %s %s; it must be uint8 or uint16 [height, width, 3]'
                        % (index, frame.dtype, frame.shape))
    for other in buffer.values():
        if other.dtype != frame.dtype:
            raise UserError('frame %d is %s, the frames before it are %s; all frames of a clip must have one type'
                            % (index, frame.dtype, other.dtype))
        if other.shape != frame.shape:
            raise UserError('frame %d is %dx%d, the frames before it are %dx%d; all frames of a clip must have one size'
                            % ((index,) + frame.shape[:2] + other.shape[:2]))
        break


class _Plan:
    """Restores frames of one size: pads, transforms and tiles them, and undoes it on the result."""

    def __init__(self, engine, shape, tiles, cache_bytes, versions):
        self._engine, self._tiles, self._versions = engine, tiles, versions
        self._shape, self._scale = shape, engine.config.upscale
        self._kept = {}          # frame index -> {(tile, version): features}
        self._cached = bool(cache_bytes) and (
            memory.kept_bytes_per_pixel(engine.config) * len(versions) * tiles.pixels <= cache_bytes)

    def restore(self, index, window, buffer):
        """float32 [s*H, s*W, 3] of frame `index`; `window` and `buffer` as `windows` yields them."""
        for old in [i for i in self._kept if i not in buffer]:
            del self._kept[old]
        padded = {i: tiling.pad(buffer[i], self._tiles.frame) for i in set(window)}
        restored = self._tiles.blend(self._restore_tile(number, index, window, padded)
                                     for number in range(len(self._tiles.boxes)))
        return restored[:self._shape[0] * self._scale, :self._shape[1] * self._scale]

    def _restore_tile(self, number, index, window, padded):
        cut = {i: frame[self._tiles.boxes[number]] for i, frame in padded.items()}
        total = None
        for version in self._versions:
            turned = {i: np.ascontiguousarray(ensemble.transform(frame, version)) for i, frame in cut.items()}
            sr = ensemble.restore(self._restore_window((number, version), index, window, turned), version)
            total = sr if total is None else total + sr
        return total if len(self._versions) == 1 else total / np.float32(len(self._versions))

    def _restore_window(self, part, index, window, frames):
        if not self._cached:
            return self._engine.run(np.stack([frames[i] for i in window])[None])[0]
        for i in set(window):
            of_frame = self._kept.setdefault(i, {})
            if part not in of_frame:
                of_frame[part] = self._engine.features(frames[i])
        return self._engine.restore([self._kept[i][part] for i in window], frames[index])
