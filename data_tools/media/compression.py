"""Compresses frames with H.264 and decodes them again."""
import itertools
import os
import tempfile
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, video

_TO_YUV = ('scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp,format=yuv420p,'
           'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709')


def through_h264(frames: typing.Iterable[np.ndarray], crf: int) -> typing.Generator[np.ndarray, None, None]:
    """Yields frames as they look after H.264.

    The encoder is libx264 with its usual settings (preset medium, B-frames, 4:2:0) at 25 frames per second, in one
    thread: with more its result would depend on their number.

    Args:
      frames: uint8 [H, W, 3] each, all of one size; an odd side is extended by a repeated line while encoded.
      crf: 0 (best) to 51.
    Yields:
      uint8 [H, W, 3] for each frame; the first one after the last frame is encoded.
    Raises:
      UserError: ffmpeg cannot be started, or fails.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    height, width = first.shape[:2]
    padding = [(0, height % 2), (0, width % 2), (0, 0)]
    count = 0

    def chunks() -> typing.Iterator[bytes]:
        nonlocal count
        for frame in itertools.chain([first], frames):
            count += 1
            yield np.pad(frame, padding, 'edge').tobytes()

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'lq.mkv')
        ffmpeg.feed(_command(height + height % 2, width + width % 2, crf, path), chunks())
        info = video.inspect(path)
        if info.num_frames != count:
            raise UserError('H.264 compression returned %d of %d frames' % (info.num_frames, count))
        for frame in video.decode(info):
            yield frame[:height, :width]


def _command(height, width, crf, path):
    return ffmpeg.command('-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', '%dx%d' % (width, height),
                          '-framerate', '25', '-i', 'pipe:0', '-vf', _TO_YUV, '-c:v', 'libx264', '-preset', 'medium',
                          '-crf', str(crf), '-threads', '1', '-colorspace', 'bt709', '-color_primaries', 'bt709',
                          '-color_trc', 'bt709', '-color_range', 'tv', '-f', 'matroska', ffmpeg.file_name(path),
                          read_stdin=True)
