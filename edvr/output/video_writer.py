"""Writes restored frames to a video file, which appears when it is complete and verified."""
import contextlib
import typing
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media.video import VideoInfo
from edvr.output import containers, joining, segments, spans
from edvr.output.encoding import Encoding
from edvr.output.timing import Timing
from edvr.output.verification import verify


class VideoWriter:
    """Encodes frames in segments and joins them with the sound of the source.

    It is a context manager. An end without an exception joins the segments, verifies the file and gives it its name. An
    end with one keeps complete segments, and the next writer with the same settings continues after them.

    Attributes:
      plan: containers.Plan, how the streams of the source are written.
      first: int, index of the first frame to write; known inside the block.
      lost_metadata: list of str, keys of the source's metadata that the file lacks; known after the block.
      differences: list of str, other differences from the source, see `verification.verify`; known after the block.
    """

    def __init__(self, path: str, rate: typing.Union[Fraction, int], crf: int = 18, codec: str = 'auto',
                 source: typing.Optional[VideoInfo] = None, audio: bool = True, bits: int = 8,
                 settings: typing.Optional[typing.Mapping[str, typing.Any]] = None, overwrite: bool = False,
                 length: typing.Optional[int] = None, segment_frames: int = segments.FRAMES,
                 resumable: bool = True, pixel_aspect: typing.Optional[Fraction] = None,
                 options: typing.Sequence[str] = ()) -> None:
        """Takes the arguments; nothing is written before the block is entered.

        Args:
          path: its suffix, one of containers.CONTAINERS, decides the container.
          rate: frames per second; if it is that of the source, the frames keep their times.
          crf: quality: 0 best; scale of the codec.
          codec: ffmpeg's name, or 'auto' for the container's usual one.
          source: the video whose pixel aspect, sound, subtitles, chapters and metadata are kept; or None.
          audio: whether audio is kept.
          bits: 8 or 10, a channel.
          settings: JSON values on which the written frames depend.
          overwrite: remove segments of other settings.
          length: frames in all; None for the number of frames that are written.
          segment_frames: frames of a segment.
          resumable: whether a later writer may continue; False starts over and keeps no segments after a failure.
          options: further options of the encoder, see `codecs.options_of`.
          pixel_aspect: width of a pixel over its height; None for that of the source.
        Raises:
          UserError: another suffix; a codec that the container does not take.
        """
        self.path, self._source, self._overwrite = str(path), source, overwrite
        self._left_out: typing.List[str] = []
        self._container = containers.container_of(path)
        self._encoding = Encoding.for_container(self._container, path, codec, crf, bits, options)
        self._timing = Timing.of_source(source, Fraction(rate))
        self.plan = containers.plan(source, self._container, audio)
        if source and self._timing.rate != source.rate:   # another speed: what has times of its own no longer fits
            self._source = source._replace(chapters=0)
            left = [stream for stream in self.plan.streams if stream.kind == 'subtitle']
            self.plan = self.plan._replace(streams=[stream for stream in self.plan.streams if stream not in left])
            self._left_out = [str(stream) for stream in left]
            if source.chapters:
                self._left_out.append('%d chapters' % source.chapters)
        self._settings = dict(settings or {}, rate=str(self._timing.rate), **self._encoding.to_json())
        self.segment_frames, self._length = segment_frames, length
        self._resumable = resumable
        self._pixel_aspect = pixel_aspect or (source.pixel_aspect if source else Fraction(1))
        self.lost_metadata: typing.List[str] = []
        self.differences: typing.List[str] = []

    def __enter__(self) -> 'VideoWriter':
        if not self._resumable:
            files.remove(segments.folder_of(self.path))
        self._folder = segments.SegmentFolder(self.path, self._settings, self._overwrite, self.segment_frames)
        first = self._folder.first   # after the last segment, which may be shorter than the others
        self.first = first if self._length is None else min(first, self._length)
        self._writer = self.segments(self.first)
        return self

    @property
    def missing(self) -> typing.List[typing.Tuple[int, int]]:
        """Returns the ranges of frames whose segments are missing: list of (first, end). Needs `length`."""
        assert self._length is not None
        return self._folder.missing(self._length)

    def segments(self, first: int) -> segments.SegmentWriter:
        """Returns a SegmentWriter for the frames from `first` on, the beginning of a segment.

        Several processes may write segments of this video, each its own.
        """
        return segments.SegmentWriter(self._folder, first, self._timing, self._encoding, self._pixel_aspect)

    def write(self, frame: np.ndarray) -> None:
        """Adds frame number `first`, `first` + 1, ...: uint8 or uint16 [H, W, 3], RGB; all of one size."""
        self._writer.write(frame)

    def __exit__(self, kind: typing.Any, error: typing.Any, trace: typing.Any) -> None:
        try:
            self._writer.__exit__(kind, error, trace)
            if kind is None:
                self._finish()
        finally:
            if self._resumable:
                self._folder.close()
            else:
                self._folder.remove()

    def _finish(self):
        total = self._writer.next if self._length is None else self._length
        if total == 0:
            raise UserError('%s: no frames to write' % self.path)
        try:
            with files.atomic_path(self.path) as partial:
                self._join(total, partial)
        except UserError as error:
            raise UserError('%s: %s; its segments are kept in %s: the same command joins them again; remove that '
                            'folder to start over' % (self.path, error, self._folder.path)) from error
        with contextlib.suppress(OSError):
            self._folder.remove()

    def _join(self, total, partial):
        source, plan = self._source, self.plan
        original = joining.read_source(source, plan)
        expected = original
        if source and original:
            expected, plan = spans.expected(original, source, plan)
        joining.join(self._folder, total, self._timing, partial, self._container, source, plan, original)
        self.lost_metadata = joining.lost_metadata(source, partial)
        self.differences = verify(partial, total, self._timing, source, plan, expected,
                                  self._container.muxer in ('mp4', 'mov'))
        self.differences += spans.differences(source, plan) if source else []
        if self._left_out:
            self.differences.append('--fps changes the speed, so these are left out: ' + ', '.join(self._left_out))
