"""Metrics of a sequence of frames, whose numbers depend on the frames before: VMAF, and the consistency of motion."""
import contextlib
import json
import os
import subprocess
import tempfile
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from edvr.evaluation.metrics import to_y

_BLOCK, _COARSE, _REACH, _REFINE = 16, 4, 4, 2   # pixels of a block, of a coarse pixel; steps of both searches
_TO_LUMA = 'scale=out_color_matrix=bt709:out_range=tv,format=yuv444p'   # VMAF reads the luma only
_VMAF = ('[0:v]split[a][b];[a]crop=iw:ih/2:0:0:exact=1,%s[x];[b]crop=iw:ih/2:0:ih/2:exact=1,%s[y];'
         '[x][y]libvmaf=log_path=vmaf.json:log_fmt=json' % (_TO_LUMA, _TO_LUMA))
Numbers = typing.List[typing.Optional[float]]


class Vmaf:
    """Computes VMAF of a clip by ffmpeg; a context manager."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._process: typing.Optional[subprocess.Popen] = None

    def __enter__(self) -> 'Vmaf':
        self._folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._stack.close()

    def add(self, image: np.ndarray, truth: np.ndarray) -> None:
        """Adds a frame and its truth, uint8 [H, W, 3]. Raises UserError if ffmpeg has ended."""
        height, width = image.shape[:2]
        if self._process is None:
            arguments = ffmpeg.command('-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s',
                                       '%dx%d' % (width, 2 * height), '-i', 'pipe:0', '-lavfi', _VMAF, '-f', 'null',
                                       '-', read_stdin=True)
            self._process = self._stack.enter_context(ffmpeg.running(arguments, stdin=subprocess.PIPE,
                                                                     stderr=self._log, cwd=self._folder))
        assert self._process.stdin is not None
        try:
            for frame in (image, truth):
                self._process.stdin.write(np.ascontiguousarray(frame).data.cast('B'))
        except OSError:
            raise self._error() from None

    def numbers(self) -> Numbers:
        """Returns the VMAF of each frame added, about 0 to 100. Raises UserError if ffmpeg fails."""
        if self._process is None:
            return []
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        path = os.path.join(self._folder, 'vmaf.json')
        if self._process.wait() or not os.path.exists(path):
            raise self._error()
        with open(path) as file:
            return [frame['metrics']['vmaf'] for frame in json.load(file)['frames']]

    def _error(self) -> UserError:
        assert self._process is not None
        self._process.wait()
        return UserError('--metrics=vmaf: ffmpeg %s cannot measure it (%s); IMAGEIO_FFMPEG_EXE names another one, '
                         'with libvmaf and its model' % (ffmpeg.version(), ffmpeg.failure(
                             self._process.returncode, ffmpeg.text(self._log))))

    @classmethod
    def check(cls) -> None:
        """Raises UserError if the ffmpeg in use cannot measure VMAF."""
        with cls() as trial:
            frame = np.zeros([64, 64, 3], np.uint8)
            trial.add(frame, frame)
            trial.numbers()


class Warp:
    """Computes the error of the change between two frames along the motion of the truth; a context manager.

    Blocks of 16x16 pixels of the truth are searched in the frame before, up to 18 pixels away. Both the image and the
    truth are moved so and subtracted from the next frame; the mean absolute difference of the two results, in levels of
    luma, is the number of a frame. Flicker and swimming raise it; a constant error does not.
    """

    def __init__(self) -> None:
        self._before: typing.Optional[typing.Tuple[np.ndarray, np.ndarray]] = None
        self._numbers: Numbers = []

    def __enter__(self) -> 'Warp':
        return self

    def __exit__(self, *error: typing.Any) -> None:
        pass

    @classmethod
    def check(cls) -> None:
        """Does nothing: it needs nothing."""

    def add(self, image: np.ndarray, truth: np.ndarray) -> None:
        """Adds a frame and its truth, uint8 [H, W, 3]."""
        now = tuple(to_y(frame)[..., 0].astype(np.float32) for frame in (image, truth))
        if self._before is None:
            self._numbers.append(None)
        else:
            rows, columns = motion(self._before[1], now[1])
            changes = [frame - before[rows, columns] for frame, before in zip(now, self._before)]
            self._numbers.append(float(np.mean(np.abs(changes[0] - changes[1]))))
        self._before = now[0], now[1]

    def numbers(self) -> Numbers:
        """Returns the number of each frame added; None for the first."""
        return self._numbers


SEQUENCES: typing.Dict[str, typing.Type[typing.Any]] = {'vmaf': Vmaf, 'warp': Warp}


def motion(before: np.ndarray, now: np.ndarray) -> typing.Tuple[np.ndarray, np.ndarray]:
    """Finds where the blocks of a frame were in the frame before.

    Args:
      before, now: float32 [H, W], luma.
    Returns:
      int [H, W] each: the row and the column in `before` of every pixel of `now`.
    """
    height, width = now.shape
    blocks = -(-height // _BLOCK), -(-width // _BLOCK)
    padding = [(0, count * _BLOCK - side) for count, side in zip(blocks, now.shape)]
    before, now = (np.pad(frame, padding, 'edge') for frame in (before, now))
    coarse = [frame.reshape(frame.shape[0] // _COARSE, _COARSE, -1, _COARSE).mean((1, 3)) for frame in (before, now)]
    steps = _search(coarse[0], coarse[1], np.zeros(blocks + (2,), int), _BLOCK // _COARSE, _REACH)
    steps = _search(before, now, _COARSE * steps, _BLOCK, _REFINE)
    rows, columns = _sources(steps, _BLOCK, now.shape)
    # blocks at the edges may come from the padding
    return np.minimum(rows, height - 1)[:height, :width], np.minimum(columns, width - 1)[:height, :width]


def _search(before, now, steps, block, reach):
    """Returns the best displacement of each block, int [rows, columns, 2], within `reach` of the given one."""
    around = sorted(((y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)),
                    key=lambda step: step[0] ** 2 + step[1] ** 2)   # the nearest wins where several are as good
    best, found = np.full(steps.shape[:2], np.inf), steps
    for step in around:
        tried = steps + step
        off = np.abs(now - before[_sources(tried, block, now.shape)])
        cost = off.reshape(steps.shape[0], block, steps.shape[1], block).mean((1, 3))
        better = cost < best - 1e-6
        best = np.where(better, cost, best)
        found = np.where(better[..., None], tried, found)
    return found


def _sources(steps, block, shape):
    rows, columns = (np.repeat(np.repeat(steps[..., axis], block, 0), block, 1) for axis in (0, 1))
    rows = np.clip(rows + np.arange(shape[0])[:, None], 0, shape[0] - 1)
    return rows, np.clip(columns + np.arange(shape[1]), 0, shape[1] - 1)
