"""The windows of a clip that is read as a stream."""
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media.windows import window_indices


def windows(frames: typing.Iterable[np.ndarray], num_frames: int, fill: str, length: typing.Optional[int] = None,
            start: int = 0) -> typing.Iterator[typing.Tuple[int, typing.List[int], typing.Dict[int, np.ndarray]]]:
    """Yields the windows of a clip of unknown length, each as soon as its frames are read.

    The border fills use frames at most num_frames away from an end, so only the last num_frames frames are held.

    Args:
      frames: iterable of uint8 or uint16 [H, W, 3].
      num_frames: T, frames of a window.
      fill: what replaces frames before and after the clip, a key of `data_tools.media.windows.FILLS`.
      length: number of frames if it is known; a clip that ends earlier is then an error.
      start: index of the first frame whose window is yielded.
    Yields:
      (index, num_frames indices, {index: frame} of the frames held).
    Raises:
      UserError: an early end, or a frame of another type or size than the one before it.
    """
    buffer: typing.Dict[int, np.ndarray] = {}
    frames, count, ended, index = iter(frames), 0, False, start
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


def only_uint8(frames: typing.Iterable[np.ndarray]) -> typing.Iterator[np.ndarray]:
    """Yields frames; raises UserError at one of uint16, which exported graphs do not read."""
    for index, frame in enumerate(frames):
        if frame.dtype == np.uint16:
            raise UserError('frame %d is uint16; exported graphs restore uint8 frames' % index)
        yield frame


def _check_frame(frame: np.ndarray, index: int, buffer: typing.Mapping[int, np.ndarray]) -> None:
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
