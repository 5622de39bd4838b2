"""The frames of a window, also at the ends of a clip."""
import typing

FILLS = ('reflection_circle', 'replicate', 'reflection', 'circle')


def window_indices(index: int, length: int, num_frames: int, fill: str = 'reflection_circle', interval: int = 1
                   ) -> typing.List[int]:
    """Returns the frame numbers of the window around a frame.

    For 5 frames at index 0: replicate [0,0,0,1,2], reflection [2,1,0,1,2], reflection_circle [4,3,0,1,2], circle
    [3,4,0,1,2] (BasicSR's names and results; its released models were evaluated with reflection_circle).

    Args:
      index: centre frame, 0 <= index < length.
      length: frames in the clip, at least 1. If the clip is too short for a fill's rule, the index is clamped.
      num_frames: frames in the window (T), odd.
      fill: one of FILLS.
      interval: distance of neighbouring frames of the window, in frames.
    Returns:
      T numbers in [0, length).
    Raises:
      ValueError: `fill` is unknown, or `index` is outside the clip.
    """
    if fill not in FILLS:
        raise ValueError('fill is %r; it must be one of %s' % (fill, ', '.join(FILLS)))
    if not 0 <= index < length:
        raise ValueError('centre frame %d is outside the clip of %d frames' % (index, length))
    reach = num_frames // 2 * interval
    last = length - 1
    indices = []
    for frame in range(index - reach, index + reach + 1, interval):
        if frame < 0:
            frame = {'replicate': 0, 'reflection': -frame, 'reflection_circle': index + reach - frame,
                     'circle': frame + num_frames * interval}[fill]
        elif frame > last:
            frame = {'replicate': last, 'reflection': 2 * last - frame,
                     'reflection_circle': index - reach + last - frame, 'circle': frame - num_frames * interval}[fill]
        indices.append(min(max(frame, 0), last))
    return indices
