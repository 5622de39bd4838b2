"""The frames of one side of a clip: image files, a stretch of a video, or LQ made from GT on reading.

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
from data_tools.media import fingerprint, video
from data_tools.media.degradation import Degradation
from data_tools.media.images import read_image


@dataclasses.dataclass(frozen=True)
class ImageFrames:
    """Image files of `file_size`; their upper left part of `size` is read."""
    paths: typing.Tuple[str, ...]
    file_size: typing.Tuple[int, int]
    size: typing.Tuple[int, int]

    direct = True

    @property
    def length(self) -> int:
        return len(self.paths)

    @property
    def path(self) -> str:
        return os.path.dirname(self.paths[0])

    def read(self, start: int = 0) -> typing.Iterator[np.ndarray]:
        return (self.frame(index) for index in range(start, self.length))

    def frame(self, index: int) -> np.ndarray:
        """Returns uint8 [H, W, 3]. Raises UserError naming the file if it does not decode, or has changed its size."""
        frame = read_image(self.paths[index])
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

    def cropped(self, size: typing.Tuple[int, int]) -> 'ImageFrames':
        return dataclasses.replace(self, size=size)

    def fingerprint(self) -> str:
        return fingerprint.combined('%s %s' % (os.path.basename(path),
                                               fingerprint.of_file(path, fingerprint.IMAGE_BLOCKS))
                                    for path in self.paths)


@dataclasses.dataclass(frozen=True)
class VideoFrames:
    """Frames `first` to `end` (not included) of a video; their upper left part of `size` is read."""
    info: video.VideoInfo
    first: int
    end: int
    size: typing.Tuple[int, int]

    direct = False

    @property
    def file_size(self) -> typing.Tuple[int, int]:
        return self.info.height, self.info.width

    @property
    def length(self) -> int:
        return self.end - self.first

    @property
    def path(self) -> str:
        return self.info.path

    def read(self, start: int = 0) -> typing.Iterator[np.ndarray]:
        with contextlib.closing(self.decode(start)) as frames:
            yield from itertools.islice(frames, self.length - start)

    def decode(self, start: int = 0) -> typing.Iterator[np.ndarray]:
        """Yields frames as `read`, to the end of the video, so that one decoder serves several ranges."""
        with contextlib.closing(video.decode(self.info, self.first + start)) as frames:
            for frame in frames:
                yield frame[:self.size[0], :self.size[1]]

    def name(self, index: int) -> str:
        return '%08d' % (self.first + index)

    def label(self, index: int) -> str:
        return 'frame %d of %s' % (self.first + index, self.info.path)

    def stretch(self, first: int, end: int) -> 'VideoFrames':
        return dataclasses.replace(self, first=self.first + first, end=self.first + end)

    def cropped(self, size: typing.Tuple[int, int]) -> 'VideoFrames':
        return dataclasses.replace(self, size=size)

    def fingerprint(self) -> str:
        whole = fingerprint.of_file(self.info.path, fingerprint.VIDEO_BLOCKS)
        return fingerprint.combined([whole, str(self.first), str(self.end)])


@dataclasses.dataclass(frozen=True)
class DegradedFrames:
    """LQ made from GT; `clip` is the name of the clip, on which random decisions depend."""
    gt: typing.Union[ImageFrames, VideoFrames]
    degradation: Degradation
    clip: str

    direct = False

    @property
    def length(self) -> int:
        return self.gt.length

    @property
    def size(self) -> typing.Tuple[int, ...]:
        return tuple(side // self.degradation.scale for side in self.gt.size)

    @property
    def path(self) -> str:
        return self.gt.path

    def read(self, start: int = 0) -> typing.Iterator[np.ndarray]:
        before = 0 if self.degradation.needs_whole_clip else start
        with contextlib.closing(self.gt.read(before)) as gt, contextlib.closing(self.made_from(gt, before)) as frames:
            yield from itertools.islice(frames, start - before, None)

    def made_from(self, gt: typing.Iterable[np.ndarray], start: int = 0) -> typing.Iterator[np.ndarray]:
        """Returns an iterator of the LQ frames, uint8 [H, W, 3], of GT frames that begin with number `start`."""
        return self.degradation.apply(gt, self.clip, start)

    def name(self, index: int) -> str:
        return self.gt.name(index)

    def label(self, index: int) -> str:
        return self.gt.label(index)

    def stretch(self, first: int, end: int) -> 'DegradedFrames':
        return dataclasses.replace(self, gt=self.gt.stretch(first, end))

    def fingerprint(self) -> str:
        return self.gt.fingerprint()


Frames = typing.Union[ImageFrames, VideoFrames, DegradedFrames]


class Decoder:
    """Reads frames; consecutive stretches of one video share one decoder. A context manager that ends it."""

    def __init__(self):
        self._source, self._at, self._stream = None, 0, None

    def read(self, frames: 'Frames') -> typing.Iterator[np.ndarray]:
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

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._source = self._stream = None
