"""The tiles of --tile=auto: of those that fit in the memory, the ones with the least work."""
import typing

from data_tools.base.errors import UserError
from edvr.restore import tiling

_SMALLEST = 64
_WORK_WITH_FEATURES = .83   # measured with EDVR-M: the time of a frame with kept features, relative to that without


class Choice(typing.NamedTuple):
    """tile: (height, width) in LQ pixels, at most the frame's. keeps: whether the features of all tiles are kept."""
    tile: tuple
    keeps: bool


def choose(frame, overlap, multiple, window_bytes, memory, kept_bytes=0., kept_memory=0.):
    """Chooses the tile size of a frame, and whether features are kept.

    Smaller tiles overlap more, so they are more work. Kept features save work, but they take memory from the tile.

    Args:
      frame: (height, width) in LQ pixels, multiples of `multiple`.
      overlap, multiple: see `tiling.starts`.
      window_bytes: memory for each pixel of the tile that is being restored.
      memory: bytes for that tile and the kept features.
      kept_bytes: memory of the kept features for each pixel of every tile.
      kept_memory: bytes that kept features may take; 0 keeps none.
    Returns:
      Choice.
    Raises:
      UserError: not even the smallest tile fits.
    """
    smallest = _round_up(max(2 * overlap, _SMALLEST), multiple)
    best = None
    for height, rows in _sides(frame[0], overlap, multiple, smallest):
        for width, columns in _sides(frame[1], overlap, multiple, smallest):
            left = memory - height * width * window_bytes
            if left < 0:
                continue
            restored = rows * height * columns * width
            keeps = 0 < restored * kept_bytes <= min(left, kept_memory)
            work = restored * (_WORK_WITH_FEATURES if keeps else 1)
            if best is None or work < best[0]:
                best = work, Choice((height, width), keeps)
    if best is None:
        raise UserError('--memory_gb leaves %.2f GB for a tile, enough for %d pixels a side; at least %d are needed: '
                        'raise it, or lower --tile_overlap'
                        % (memory / 2 ** 30, max(memory / window_bytes, 0) ** .5, min(smallest, *frame)))
    return best[1]


def _sides(length, overlap, multiple, smallest):
    """Yields (side, number of tiles) along an axis: for each number of tiles the smallest side that suffices."""
    overlap = _round_up(overlap, multiple)
    count, side = 1, length
    while count == 1 or smallest <= side < length:
        yield side, len(tiling.starts(length, side, overlap, multiple))
        count += 1
        side = _round_up(-(-(length + (count - 1) * overlap) // count), multiple)


def _round_up(size, multiple):
    return -(-size // multiple) * multiple
