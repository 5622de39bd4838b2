"""The segments of a video that is being written: each is encoded separately, so an interrupted run loses only one.

Segments are MP4 or MOV files without sound, in a hidden folder beside the video, with a record of the settings on which
their bytes depend.
"""
import contextlib
import os
import re
import subprocess
import tempfile
import typing
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from edvr.output.encoding import Encoding
from edvr.output.records import check_unchanged
from edvr.output.timing import Timing
from edvr.sharing import splitting

FRAMES = 240   # of a segment: about one interval between key frames


def folder_of(video: str) -> str:
    """Returns the path of the folder for the segments of a video."""
    folder, name = os.path.split(os.path.abspath(video))
    return os.path.join(folder, '.%s.segments' % name)


def has_any(video: str) -> bool:
    """Returns whether there are segments of a video: an earlier run was interrupted."""
    return bool(_numbers(folder_of(video)))


def _numbers(folder):
    """Returns the numbers of the segments in a folder: list of int."""
    return [int(name[:6]) for name in files.listing(folder) if re.match(r'[0-9]{6}\.mp4$', name)]


class SegmentFolder:
    """The segments of one video.

    Attributes:
      path: str, the folder.
      frames: int, frames of a segment.
      first: int, index of the first frame whose segment was missing when the folder was opened.
    """

    RECORD = 'record.json'

    def __init__(self, video: str, settings: typing.Mapping[str, typing.Any], overwrite: bool = False,
                 frames: int = FRAMES) -> None:
        """Opens or creates the folder.

        Args:
          video: path of the video.
          settings: JSON values on which the bytes of the segments depend.
          overwrite: remove segments of other settings.
          frames: frames of a segment.
        Raises:
          UserError: the folder cannot be written, or has segments of other settings.
        """
        self.path, self.frames = folder_of(video), frames
        settings = dict(settings, segment_frames=frames)
        files.make_dir(os.path.dirname(self.path))
        record = os.path.join(self.path, self.RECORD)
        if self._present():
            try:
                check_unchanged(record, settings, 'segments', self.path)
            except UserError:
                if not overwrite:
                    raise
                files.remove(self.path)
        files.make_dir(self.path)
        files.remove_partials(self.path)
        files.write_json(record, settings)
        self.first = self.missing(len(self._present()) * frames + 1)[0][0]

    def missing(self, total: int) -> typing.List[typing.Tuple[int, int]]:
        """Returns the ranges of frames without a segment in a video of `total` frames: list of (first, end)."""
        there = set(self._present())
        numbers = splitting.missing(number in there for number in range(-(-total // self.frames)))
        return [(self.bounds(first, total)[0], self.bounds(end - 1, total)[1]) for first, end in numbers]

    def file(self, number: int) -> str:
        """Returns the path of segment `number`."""
        return os.path.join(self.path, '%06d.mp4' % number)

    def bounds(self, number: int, total: int) -> typing.Tuple[int, int]:
        """Returns (first, end) of the frames of a segment in a video of `total` frames."""
        return number * self.frames, min((number + 1) * self.frames, total)

    def number(self, index: int) -> typing.Tuple[int, bool]:
        """Returns (number of the segment of a frame, whether the frame is its first)."""
        return index // self.frames, index % self.frames == 0

    def close(self) -> None:
        """Removes the folder if it holds no complete segment."""
        if not self._present():
            files.remove(self.path)

    def remove(self) -> None:
        """Removes the folder."""
        files.remove(self.path)

    def _present(self):
        """Returns the numbers of the existing segments: list of int."""
        return _numbers(self.path)


class SegmentWriter:
    """Writes consecutive frames to segments; a context manager that ends the last one. It can be pickled before."""

    def __init__(self, folder: SegmentFolder, first: int, timing: Timing, encoding: Encoding,
                 pixel_aspect: typing.Union[Fraction, int] = 1) -> None:
        """
        Args:
          folder: the segments.
          first: index of the first frame to write, which begins a segment.
          timing, encoding, pixel_aspect: see `SegmentEncoder`.
        """
        self._folder, self._arguments, self._pixel_aspect = folder, (timing, encoding), pixel_aspect
        self.next = first
        self._shape: typing.Optional[typing.Tuple[int, ...]] = None
        self._encoder: typing.Optional[SegmentEncoder] = None

    def __enter__(self) -> 'SegmentWriter':
        return self

    def __exit__(self, *error: typing.Any) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder:
            encoder.__exit__(*error)

    def write(self, frame: np.ndarray) -> None:
        """Adds frame number `next`: uint8 or uint16 [H, W, 3], RGB; all of one size."""
        if self._shape not in (None, frame.shape):
            raise ValueError('a frame of shape %s after frames of %s' % (frame.shape, self._shape))
        self._shape = frame.shape
        number, begins = self._folder.number(self.next)
        timing, encoding = self._arguments
        if begins:
            self.__exit__(None, None, None)
            self._encoder = SegmentEncoder(self._folder.file(number), frame.shape, timing, self.next, encoding,
                                           self._pixel_aspect).__enter__()
        assert self._encoder is not None   # the first frame begins a segment
        self._encoder.write(encoding.converted(frame))
        self.next += 1


class SegmentEncoder:
    """Encodes frames to one file, which gets its name when it is complete; a context manager."""

    def __init__(self, path: str, shape: typing.Tuple[int, ...], timing: Timing, first: int, encoding: Encoding,
                 pixel_aspect: typing.Union[Fraction, int] = 1) -> None:
        """Starts ffmpeg when the block is entered.

        Args:
          path: the file.
          shape: (height, width, 3) of the frames.
          timing: times of the frames of the video.
          first: index in the video of the first frame.
          encoding: of the pictures.
          pixel_aspect: width of a pixel relative to its height.
        """
        self._path, self._shape, self._timing, self._first = path, shape, timing, first
        self._last: typing.Optional[memoryview] = None
        self._encoding, self._pixel_aspect = encoding, pixel_aspect
        self._extra = [size % 2 if encoding.even else 0 for size in shape[:2]]
        self._stack = contextlib.ExitStack()
        self._process: typing.Any = None

    def __enter__(self) -> 'SegmentEncoder':
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        partial = self._stack.enter_context(files.atomic_path(self._path))
        self._process = self._stack.enter_context(ffmpeg.running(self._command(partial), stdin=subprocess.PIPE,
                                                                 stderr=self._log))
        self._stack.push(self._finish)   # an error of ffmpeg leaves the file without its name
        return self

    def __exit__(self, kind: typing.Any, error: typing.Any, trace: typing.Any) -> typing.Optional[bool]:
        return self._stack.__exit__(kind, error, trace)

    def write(self, frame: np.ndarray) -> None:
        """Adds one frame, uint8 or uint16 [H, W, 3], in the depth of the encoding.

        An odd height or width that the encoding cannot have is extended by a repeated line.
        """
        height, width = self._extra
        if height or width:
            frame = np.pad(frame, [(0, height), (0, width), (0, 0)], 'edge')
        self._last = np.ascontiguousarray(frame).data.cast('B')
        self._send(self._last)

    def _send(self, data):
        try:
            self._process.stdin.write(data)
        except OSError:   # ffmpeg has ended; its log contains the reason
            self._process.wait()
            raise UserError(self._failure()) from None

    def _finish(self, kind, error, trace):
        if kind is None:
            if self._last and not self._timing.constant:   # where it ends: encoders take the begin of frames only
                self._send(self._last)
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            if self._process.wait():
                raise UserError(self._failure())

    def _command(self, partial):
        height, width = (size + extra for size, extra in zip(self._shape, self._extra))
        encoding, timing = self._encoding, self._timing
        filters = encoding.filters
        aspect = Fraction(self._pixel_aspect)
        if aspect != 1:
            filters += ',setsar=%d/%d' % (aspect.numerator, aspect.denominator)
        times = []
        if not timing.constant:
            filters = _at_times(timing, self._first, FRAMES + 1) + ',' + filters
            times = ['-enc_time_base', '%d/%d' % (timing.unit.numerator, timing.unit.denominator),
                     '-video_track_timescale', str(timing.unit.denominator),
                     '-use_editlist', '0']   # an edit list could end before the last frame, whose duration is unknown
        return ffmpeg.command(
            '-loglevel', 'error', '-y', '-f', 'rawvideo', '-pix_fmt', encoding.input_format,
            '-s', '%dx%d' % (width, height), '-framerate', str(timing.rate), '-i', 'pipe:0', '-vf', filters,
            *ffmpeg.each_frame(), *times, *encoding.arguments(timing.constant), *ffmpeg.reproducible(),
            '-f', encoding.muxer, ffmpeg.file_name(partial), read_stdin=True)

    def _failure(self):
        return 'cannot write %s: %s' % (self._path, ffmpeg.failure(self._process.returncode, ffmpeg.text(self._log)))


def _at_times(timing, first, count):
    """Returns filters that give frame N of a segment of `count` frames its time after the segment's first frame.

    The expression is a binary search, because ffmpeg limits the depth of expressions.
    """
    zero = timing.units(first)

    def between(low, high):
        if high - low == 1:
            return str(timing.units(first + low) - zero)
        middle = (low + high) // 2
        return 'if(lt(N,%d),%s,%s)' % (middle, between(low, middle), between(middle, high))

    return "settb=%d/%d,setpts='%s'" % (timing.unit.numerator, timing.unit.denominator, between(0, count))
