"""Writing restored frames to a video file that appears when it is whole and verified."""
import contextlib
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.restoration.output import containers, joining, segments
from edvr.restoration.output.encoding import Encoding
from edvr.restoration.output.timing import Timing
from edvr.restoration.output.verification import verify


class VideoWriter:
    """Encodes frames in segments and joins them with the sound of the source.

    Use as a context manager: leaving it without an exception joins the segments, verifies the file and gives it its
    name; leaving it with one keeps whole segments, and the next writer with the same settings continues behind them.

    Attributes:
      plan: containers.Plan, what becomes of the streams of the source.
      first: int, index of the first frame to write; known inside the block.
      lost_metadata: list of str, keys of the source's metadata that the file does not hold; known after the block.
    """

    def __init__(self, path, rate, crf=18, codec='auto', source=None, audio=True, bits=8, settings=None,
                 overwrite=False, length=None, segment_frames=segments.FRAMES):
        """Nothing is written before the block is entered.

        Args:
          path: str; its suffix, one of containers.CONTAINERS, tells the container.
          rate: Fraction, frames per second; if it is that of the source, the times of its frames are taken over.
          crf: int, quality: 0 best; scale of the codec.
          codec: ffmpeg's name, or 'auto' for the container's usual one.
          source: VideoInfo whose pixel aspect, sound, subtitles, chapters and metadata are taken over; or None.
          audio: whether audio is taken over.
          bits: 8 or 10, a channel.
          settings: dict of JSON values, what decides the frames that come in.
          overwrite: remove segments that other settings left.
          length: int, frames in all; None where no run is to continue behind the last segment.
          segment_frames: int.
        Raises:
          UserError: another suffix; a codec that the container does not take.
        """
        self.path, self._source, self._overwrite = str(path), source, overwrite
        self._container = containers.container_of(path)
        self._encoding = Encoding.for_container(self._container, path, codec, crf, bits)
        self._timing = Timing.of_source(source, Fraction(rate))
        self.plan = containers.plan(source, self._container, audio)
        self._settings = dict(settings or {}, rate=str(self._timing.rate), **self._encoding.to_json())
        self._segment_frames, self._shape, self._encoder = segment_frames, None, None
        self._length, self.lost_metadata = length, []

    def __enter__(self):
        self._folder = segments.SegmentFolder(self.path, self._settings, self._overwrite, self._segment_frames)
        first = self._folder.first   # behind the last segment, which may be shorter than the others
        self.first = self._next = first if self._length is None else min(first, self._length)
        return self

    def write(self, frame):
        """Adds frame number `first`, `first` + 1, ...: uint8 or uint16 [H, W, 3], RGB; all of one size."""
        if self._shape not in (None, frame.shape):
            raise ValueError('a frame of shape %s after frames of %s' % (frame.shape, self._shape))
        self._shape = frame.shape
        number, begins = self._folder.number(self._next)
        if begins:
            self._end_segment()
            aspect = self._source.pixel_aspect if self._source else Fraction(1)
            self._encoder = segments.SegmentEncoder(self._folder.file(number), frame.shape, self._timing, self._next,
                                                    self._encoding, aspect).__enter__()
        self._encoder.write(self._converted(frame))
        self._next += 1

    def __exit__(self, kind, error, trace):
        try:
            self._end_segment(kind, error, trace)
            if kind is None:
                self._finish()
        finally:
            self._folder.close()

    def _converted(self, frame):
        """The frame in the depth that the encoder reads."""
        if self._encoding.bits == 10:
            return frame if frame.dtype == np.uint16 else frame.astype(np.uint16) * np.uint16(257)
        if frame.dtype == np.uint16:
            raise ValueError('frames of 16 bits for a video of 8')
        return frame

    def _end_segment(self, *error):
        encoder, self._encoder = self._encoder, None
        if encoder:
            encoder.__exit__(*(error or (None, None, None)))

    def _finish(self):
        if self._next == 0:
            raise UserError('%s: no frames to write' % self.path)
        try:
            with files.atomic_path(self.path) as partial:
                joining.join(self._folder, self._next, self._timing, partial, self._container, self._source, self.plan)
                self.lost_metadata = joining.lost_metadata(self._source, partial)
                verify(partial, self._next, self._timing, self._source, self.plan)
        except UserError as error:
            raise UserError('%s: %s; its segments are kept in %s: the same command joins them again, and starts anew '
                            'without that folder' % (self.path, error, self._folder.path)) from error
        with contextlib.suppress(OSError):
            self._folder.remove()
