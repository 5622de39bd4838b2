"""Writes restored frames to standard output, as Y4M or raw, for another program."""
import contextlib
import subprocess
import tempfile
import typing
from fractions import Fraction

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, video
from data_tools.media.frame_stream import PIXEL_FORMATS, Y4M


class PipeWriter:
    """Writes frames to a pipe; a context manager.

    YUV is in limited range, with the matrix that readers take for its size, see `data_tools.media.video`.

    Attributes:
      dtype: of the frames, np.uint8 or np.uint16.
    """

    def __init__(self, target: int, rate: Fraction, kind: str = Y4M, pixel_format: str = 'yuv420p',
                 pixel_aspect: Fraction = Fraction(1)) -> None:
        """Takes the arguments; ffmpeg is started with the first frame.

        Args:
          target: file descriptor.
          rate: frames per second, for the header of Y4M.
          kind: 'y4m' or 'raw'.
          pixel_format: one of PIXEL_FORMATS; of YUV if `kind` is Y4M.
          pixel_aspect: width of a pixel over its height, for the header of Y4M.
        """
        self._target, self._rate, self._kind, self._aspect = target, rate, kind, pixel_aspect
        self._format = PIXEL_FORMATS[pixel_format]
        self.dtype = np.uint8 if self._format.bits == 8 else np.uint16
        self._stack = contextlib.ExitStack()
        self._process: typing.Optional[subprocess.Popen] = None
        self._count = 0

    def __enter__(self) -> 'PipeWriter':
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        return self

    def __exit__(self, kind: typing.Any, error: typing.Any, trace: typing.Any) -> None:
        with self._stack:
            if self._process and self._process.stdin and kind is None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
                if self._process.wait():
                    raise UserError(self._failure())

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, [H, W, 3] of `dtype`, RGB. Raises UserError if nobody reads it."""
        if self._process is None:
            self._process = self._stack.enter_context(ffmpeg.running(
                self._command(*frame.shape[:2]), self._target, stdin=subprocess.PIPE, stderr=self._log))
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data.cast('B'))
        except OSError:   # ffmpeg has ended; its log holds the reason
            self._process.wait()
            raise UserError(self._failure()) from None
        self._count += 1

    def _command(self, height: int, width: int) -> typing.List[str]:
        matrix = video.matrix_of(self._format.name, '', height, width)
        scale = 'scale=flags=accurate_rnd+full_chroma_inp'
        if matrix:
            scale += ':out_color_matrix=%s:out_range=tv' % matrix
        filters = '%s,format=%s,setsar=%d/%d' % (scale, self._format.name, self._aspect.numerator,
                                                 self._aspect.denominator)
        return ffmpeg.command(
            '-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24' if self.dtype == np.uint8 else 'rgb48le',
            '-s', '%dx%d' % (width, height), '-framerate', str(self._rate), '-i', 'pipe:0', '-vf', filters,
            *ffmpeg.each_frame(), '-strict', '-1',   # the deeper formats of Y4M
            '-f', 'yuv4mpegpipe' if self._kind == Y4M else 'rawvideo', 'pipe:1', read_stdin=True)

    def _failure(self) -> str:
        assert self._process is not None
        return ('--output=-: the program that reads it ended, after about %d frames (%s)'
                % (self._count, ffmpeg.failure(self._process.returncode, ffmpeg.text(self._log))))
