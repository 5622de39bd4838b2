"""The tiles of a frame; for --tile=auto, of those that fit in the memory, the ones with the least work."""
import math
import typing

from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.restoration import RestoreConfig
from edvr.devices import DEVICES
from edvr.restore import ensemble, memory, tiling

_GB = 2 ** 30
_SMALLEST = 64
_WORK_WITH_FEATURES = .83   # measured with EDVR-M: the time of a frame with kept features, relative to that without
_FRAMES = 2.5   # restored frames in memory, as float32: this one, and the one before it while it is written as uint8

Size = typing.Tuple[int, int]


def plan(size: Size, options: RestoreConfig, network: ModelConfig, measure: typing.Callable[[], memory.Footprint],
         fixed: Size = (0, 0), keeps_features: bool = True) -> typing.Tuple[tiling.Tiling, float]:
    """Decides how frames of a size are padded and cut, and how much memory their kept features may take.

    Args:
      size: (height, width) of the frames.
      options: RestoreConfig.
      network: ModelConfig.
      measure: returns the Footprint of the network; called for --tile=auto only.
      fixed: (height, width) for which an exported graph was made, 0 where it takes any.
      keeps_features: whether the network can keep features.
    Returns:
      (Tiling, bytes).
    Raises:
      UserError: a tile that is too small for its overlap; --tile=auto on an accelerator, or with too little memory.
    """
    multiple = network.size_multiple
    frame = tiling.padded_size(*size, multiple, fixed)
    cache_bytes = options.cache_gb * _GB if options.cached and keeps_features else 0.
    if options.tile != 'auto':
        tile = (int(options.tile) or max(frame),) * 2
    elif all(fixed):
        tile = fixed
    else:
        tile, cache_bytes = _auto(frame, options, network, measure, cache_bytes)
    sides = [side or wanted for side, wanted in zip(fixed, tile)]
    # a graph exported for one size fixes the tile, so the overlap is reduced
    overlap = min([options.tile_overlap] + [side // 2 for side in fixed if side])
    return tiling.Tiling(frame, sides, overlap, multiple, network.upscale), cache_bytes


def _auto(frame: Size, options: RestoreConfig, network: ModelConfig, measure: typing.Callable[[], memory.Footprint],
          cache_bytes: float) -> typing.Tuple[Size, float]:
    """Returns the tile of --tile=auto, (height, width), and the memory for kept features, bytes."""
    if not DEVICES[options.device].ON_HOST:
        raise UserError('--tile=auto measures the memory of this host, not that of --device=%s; give the side '
                        'of a tile, such as --tile=512' % options.device)
    footprint = measure()
    taken = footprint.base + _FRAMES * 12 * network.upscale ** 2 * frame[0] * frame[1]
    left = options.memory_gb * _GB - taken
    kept = memory.kept_bytes_per_pixel(network) * ensemble.versions(options.ensemble) if cache_bytes else 0.
    choice = choose(frame, options.tile_overlap, network.size_multiple, footprint.per_pixel, left, kept, cache_bytes)
    if choice is None:
        tile = smallest(frame, options.tile_overlap, network.size_multiple)
        needed = taken + tile[0] * tile[1] * footprint.per_pixel
        raise UserError('--memory_gb=%g is too little for frames of %dx%d: the program, the network and restored '
                        'frames take %.2f GB, and with the smallest tile, %dx%d, about %.2f GB: raise it%s'
                        % (options.memory_gb, frame[0], frame[1], taken / _GB, tile[0], tile[1],
                           math.ceil(needed / _GB * 100) / 100,
                           ', or lower --tile_overlap' if 2 * options.tile_overlap > _SMALLEST else ''))
    return choice.tile, cache_bytes if choice.keeps else 0.


class Choice(typing.NamedTuple):
    """The tiles of a frame.

    Attributes:
      tile: (height, width) in LQ pixels, at most the frame's.
      keeps: whether the features of all tiles are kept.
    """
    tile: Size
    keeps: bool


def choose(frame: Size, overlap: int, multiple: int, window_bytes: float, available: float, kept_bytes: float = 0.,
           kept_memory: float = 0.) -> typing.Optional[Choice]:
    """Chooses the tile size of a frame, and whether features are kept.

    Smaller tiles overlap more, so they are more work. Kept features save work, but they take memory from the tile.

    Args:
      frame: (height, width) in LQ pixels, multiples of `multiple`.
      overlap: LQ pixels that neighbouring tiles share.
      multiple: the sides of tiles are multiples of it.
      window_bytes: memory for each pixel of the tile that is being restored.
      available: bytes for that tile and the kept features.
      kept_bytes: memory of the kept features for each pixel of every tile.
      kept_memory: bytes that kept features may take; 0 keeps none.
    Returns:
      Choice; None if not even the smallest tile fits.
    """
    best = None
    for height, rows in _sides(frame[0], overlap, multiple):
        for width, columns in _sides(frame[1], overlap, multiple):
            left = available - height * width * window_bytes
            if left < 0:
                continue
            pixels = rows * height * columns * width
            keeps = 0 < pixels * kept_bytes <= min(left, kept_memory)
            work = pixels * (_WORK_WITH_FEATURES if keeps else 1)
            if best is None or work < best[0]:
                best = work, Choice((height, width), keeps)
    return best and best[1]


def smallest(frame: Size, overlap: int, multiple: int) -> Size:
    """Returns the smallest tile that `choose` may choose: (height, width)."""
    height, width = (min(side for side, _ in _sides(length, overlap, multiple)) for length in frame)
    return height, width


def _sides(length: int, overlap: int, multiple: int) -> typing.Iterator[typing.Tuple[int, int]]:
    """Yields (side, number of tiles) along an axis: for each number of tiles the smallest side that suffices."""
    least = _round_up(max(2 * overlap, _SMALLEST), multiple)
    overlap = _round_up(overlap, multiple)
    count, side = 1, length
    while count == 1 or least <= side < length:
        yield side, len(tiling.starts(length, side, overlap, multiple))
        count += 1
        side = _round_up(-(-(length + (count - 1) * overlap) // count), multiple)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
