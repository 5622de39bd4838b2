"""The frames of one side of a clip: image files, images of an LMDB (`lmdb_source`), a span of a video, or synthetic LQ.

All of them have the same attributes and methods:

    length          int, number of frames
    size            (height, width) in pixels
    path            str, the folder or the video file
    direct          bool, whether `frame(index)` reads a single frame; else frames are read in order
    read(start=0)   iterator of uint8 [H, W, 3], RGB, from frame `start` to the end
    name(index)     str, file name of a frame without suffix
    label(index)    str, where a frame comes from, for messages
    stretch(first, end)  the same kind of frames, from `first` to `end` (not included)
    file_size, cropped(size)   of images and videos: the size before cropping; their upper left part
    fingerprint()   str, changes with the content of the files, see `fingerprint`
"""
import contextlib
import dataclasses
import itertools
import os
import typing

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import fingerprint, icc, video
from data_tools.media.degradation import Degradation, Frames
from data_tools.media.images import read_image
from data_tools.media.lmdb_source import LmdbFrames

Size = typing.Tuple[int, int]   # height, width in pixels


@dataclasses.dataclass(frozen=True)
class ImageFrames:
    """Reads image files.

    Attributes:
      paths: of the files.
      file_size: of the images.
      size: of their upper left part, which is read.
      profiles: their ICC profiles.
      to_srgb: convert by these profiles to sRGB.
    """
    paths: typing.Tuple[str, ...]
    file_size: Size
    size: Size
    profiles: icc.Found = icc.NONE
    to_srgb: bool = False

    direct = True

    @property
    def length(self) -> int:
        return len(self.paths)

    @property
    def path(self) -> str:
        return os.path.dirname(self.paths[0])

    def read(self, start: int = 0) -> Frames:
        return (self.frame(index) for index in range(start, self.length))

    def frame(self, index: int) -> np.ndarray:
        """Reads uint8 [H, W, 3]. Raises UserError naming the file if it does not decode, or has changed its size."""
        frame = read_image(self.paths[index], self.to_srgb)
        if frame.shape[:2] != self.file_size:
            raise UserError('%s is %dx%d, the first frame of its clip %dx%d (height x width); all frames of a clip '
                            'must have one size' % ((self.paths[index],) + frame.shape[:2] + self.file_size))
        return frame[:self.size[0], :self.size[1]]

    def name(self, index: int) -> str:
        return os.path.splitext(os.path.basename(self.paths[index]))[0]

    def label(self, index: int) -> str:
        return self.paths[index]

    def stretch(self, first: int, end: int) -> 'ImageFrames':
        return dataclasses.replace(self, paths=self.paths[first:end])

    def cropped(self, size: Size) -> 'ImageFrames':
        return dataclasses.replace(self, size=size)

    def fingerprint(self) -> str:
        return fingerprint.combined('%s %s' % (os.path.basename(path), fingerprint.of_image(path))
                                    for path in self.paths)


@dataclasses.dataclass(frozen=True)
class VideoFrames:
    """Reads a span of a video.

    Attributes:
      info: the properties of the video.
      first: number of the first frame.
      end: number after that of the last frame.
      size: of the upper left part of the frames, which is read.
    """
    info: video.VideoInfo
    first: int
    end: int
    size: Size

    direct = False

    @property
    def file_size(self) -> Size:
        return self.info.height, self.info.width

    @property
    def length(self) -> int:
        return self.end - self.first

    @property
    def path(self) -> str:
        return self.info.path

    def read(self, start: int = 0) -> Frames:
        with contextlib.closing(self.decode(start)) as frames:
            yield from itertools.islice(frames, self.length - start)

    def decode(self, start: int = 0) -> Frames:
        """Yields what `read` yields, and continues to the end of the video: one decoder serves several spans."""
        with contextlib.closing(video.decode(self.info, self.first + start)) as frames:
            for frame in frames:
                yield frame[:self.size[0], :self.size[1]]

    def name(self, index: int) -> str:
        return '%08d' % (self.first + index)

    def label(self, index: int) -> str:
        return 'frame %d of %s' % (self.first + index, self.info.path)

    def stretch(self, first: int, end: int) -> 'VideoFrames':
        return dataclasses.replace(self, first=self.first + first, end=self.first + end)

    def cropped(self, size: Size) -> 'VideoFrames':
        return dataclasses.replace(self, size=size)

    def fingerprint(self) -> str:
        whole = fingerprint.of_file(self.info.path, fingerprint.VIDEO_BLOCKS)
        filters = [self.info.deinterlacing_filters] if self.info.deinterlaced else []
        return fingerprint.combined([whole, str(self.first), str(self.end)] + filters)


@dataclasses.dataclass(frozen=True)
class DegradedFrames:
    """Makes synthetic LQ from GT on reading.

    Attributes:
      gt: the frames that it is made from.
      degradation: how it is made.
      clip: name of the clip, on which random decisions depend.
    """
    gt: typing.Union[ImageFrames, VideoFrames]
    degradation: Degradation
    clip: str

    direct = False

    @property
    def length(self) -> int:
        return self.gt.length

    @property
    def size(self) -> Size:
        height, width = self.gt.size
        return height // self.degradation.scale, width // self.degradation.scale

    @property
    def path(self) -> str:
        return self.gt.path

    def read(self, start: int = 0) -> Frames:
        before = 0 if self.degradation.needs_whole_clip else start
        with contextlib.closing(self.gt.read(before)) as gt, contextlib.closing(self.made_from(gt, before)) as frames:
            yield from itertools.islice(frames, start - before, None)

    def made_from(self, gt: typing.Iterable[np.ndarray], start: int = 0) -> Frames:
        """Makes the LQ frames of GT frames that begin with number `start`."""
        return self.degradation.apply(gt, self.clip, start)

    def name(self, index: int) -> str:
        return self.gt.name(index)

    def label(self, index: int) -> str:
        return self.gt.label(index)

    def stretch(self, first: int, end: int) -> 'DegradedFrames':
        return dataclasses.replace(self, gt=self.gt.stretch(first, end))

    def fingerprint(self) -> str:
        return self.gt.fingerprint()


Side = typing.Union[ImageFrames, VideoFrames, DegradedFrames, LmdbFrames]


class Decoder:
    """Reads frames; consecutive spans of one video share one decoder. A context manager that ends it."""

    def __init__(self) -> None:
        self._source: typing.Optional[typing.Tuple[video.VideoInfo, Size]] = None
        self._at = 0
        self._stream: typing.Any = None   # generator of frames from number `_at` on

    def read(self, frames: Side) -> Frames:
        """Returns an iterator of the frames; it invalidates the iterator of the previous call."""
        if isinstance(frames, DegradedFrames):
            return frames.made_from(self.read(frames.gt))
        return self._stretch(frames) if isinstance(frames, VideoFrames) else frames.read()

    def _stretch(self, frames):
        source = frames.info, frames.size
        if self._source != source or frames.first < self._at:
            self.close()
            self._source, self._at, self._stream = source, frames.first, frames.decode()
        for frame in self._stream:
            self._at += 1
            if self._at > frames.first:
                yield frame
            if self._at == frames.end:
                return

    def __enter__(self) -> 'Decoder':
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the decoder."""
        if self._stream is not None:
            self._stream.close()
        self._source = self._stream = None
