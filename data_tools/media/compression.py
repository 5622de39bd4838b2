"""Compresses frames with H.264 or H.265 and decodes them again."""
import itertools
import os
import tempfile
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, video

# encoders of ffmpeg: the smallest side of a frame, and the options that each needs for one thread and no messages
ENCODERS: typing.Dict[str, typing.Tuple[int, typing.Tuple[str, ...]]] = {
    'libx264': (2, ()), 'libx265': (16, ('-x265-params', 'pools=none:frame-threads=1:log-level=error'))}
_TO_YUV = ('scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_inp,format=yuv420p,'
           'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709')


def through_codec(frames: typing.Iterable[np.ndarray], crf: int, encoder: str = 'libx264'
                  ) -> typing.Generator[np.ndarray, None, None]:
    """Yields frames as they look after compression.

    The encoder has its usual settings (preset medium, B-frames, 4:2:0) at 25 frames per second, in one thread: with
    more its result would depend on their number.

    Args:
      frames: uint8 [H, W, 3] each, all of one size; an odd or too small side is extended by repeated lines while
        encoded.
      crf: 0 (best) to 51.
      encoder: of ENCODERS.
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
    tall, wide = (max(side + side % 2, ENCODERS[encoder][0]) for side in (height, width))
    padding = [(0, tall - height), (0, wide - width), (0, 0)]
    count = 0

    def chunks() -> typing.Iterator[bytes]:
        nonlocal count
        for frame in itertools.chain([first], frames):
            count += 1
            yield np.pad(frame, padding, 'edge').tobytes()

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'lq.mkv')
        ffmpeg.feed(_command(tall, wide, crf, path, encoder), chunks())
        info = video.inspect(path)
        if info.num_frames != count:
            raise UserError('compression by %s returned %d of %d frames' % (encoder, info.num_frames, count))
        for frame in video.decode(info):
            yield frame[:height, :width]


def _command(height, width, crf, path, encoder):
    return ffmpeg.command('-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', '%dx%d' % (width, height),
                          '-framerate', '25', '-i', 'pipe:0', '-vf', _TO_YUV, '-c:v', encoder, '-preset', 'medium',
                          '-crf', str(crf), '-threads', '1', *ENCODERS[encoder][1], '-colorspace', 'bt709',
                          '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv', '-f', 'matroska',
                          ffmpeg.file_name(path), read_stdin=True)
