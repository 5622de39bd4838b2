"""The clips to restore, folders of images and videos in every layout of data_tools.media.clips, and their frames."""
import bisect
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
import typing
from fractions import Fraction

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import clips as clip_folders
from data_tools.media import icc, video
from data_tools.media.deinterlacing import NONE as NO_DEINTERLACING
from data_tools.media.deinterlacing import Deinterlacing
from data_tools.media.frames import ImageFrames, VideoFrames
from data_tools.media.read_ahead import read_ahead
from data_tools.media.shots import ShotRule, covering
from data_tools.media.video_scan import Scanner
from edvr.config import place
from edvr.restore.resize import Resize
from edvr.restore.restorer import Restorer


class Source(typing.NamedTuple):
    """Describes one clip to restore.

    name: str.
    length: int, frames.
    names: file names for the restored frames, without suffix.
    read: function(start) -> iterator of uint8 or uint16 [H, W, 3] from frame `start` on.
    video: VideoInfo, None for images.
    path: str, the video file or the folder of the images.
    shots: tuple of (first, end), consecutive ranges that cover all frames, each restored separately; () means one.
    size: (height, width) of the frames.
    first: number in the whole clip of the first frame; its neighbours before and after it are read, not restored.
    resize: the size of restored frames; None for that of the network.
    profile: the ICC profile of the frames, see `icc`; b'' for sRGB.
    converted: names of the profiles from which frames are converted to sRGB.
    """
    name: str
    length: int
    names: typing.Tuple[str, ...]
    read: typing.Callable
    video: typing.Optional[video.VideoInfo]
    path: str
    shots: typing.Tuple[typing.Tuple[int, int], ...] = ()
    size: typing.Tuple[int, int] = (1, 1)
    first: int = 0
    resize: typing.Optional[Resize] = None
    profile: bytes = b''
    converted: typing.Tuple[str, ...] = ()

    @property
    def kept_profile(self) -> bytes:
        """Returns the ICC profile that restored images keep, b'' for none."""
        return self.profile if self.profile and icc.can_be_kept(self.profile) else b''

    def span(self, first: int, end: int) -> 'Source':
        """Returns the Source of the frames `first` to `end` (not included); its windows reach beyond them."""
        shots = self.shots or ((0, self.length),)
        info = self.video.span(first, end) if self.video else None
        return self._replace(length=end - first, names=self.names[first:end], video=info, first=self.first + first,
                             read=functools.partial(_read_later, self.read, first),
                             shots=tuple((begin - first, stop - first) for begin, stop in shots
                                         if begin < end and stop > first))

    def number_at(self, where: place.Place, rate: Fraction) -> int:
        """Returns the number of the first frame at or after a place, at most `length`; `rate` is that of images."""
        if where.seconds is None:
            return min(where.frame or 0, self.length)
        if self.video and self.video.times:
            return bisect.bisect_left([time * self.video.time_base for time in self.video.times], where.seconds)
        return min(math.ceil(where.seconds * (self.video.rate if self.video else rate)), self.length)


def find(path: str, scale: int = 4, clips: typing.Optional[typing.Sequence[str]] = None, allow_gaps: bool = False,
         allow_damaged: bool = False, progress: typing.Optional[typing.Callable[[int], None]] = None,
         shots: typing.Optional[ShotRule] = None, deinterlacing: Deinterlacing = NO_DEINTERLACING, deep: bool = False,
         tonemap: str = '', colours: str = icc.KEEP) -> typing.List[Source]:
    """Finds the clips at a path.

    Args:
      path: a video file, a folder of images, a folder of clips or videos, a dataset or a list of such, see
        `data_tools.media.clips`.
      scale: int, decides which folders of a dataset hold LQ (blur4, X4).
      clips: list of names to take, None for all.
      allow_gaps: accept holes in the numbering of images.
      allow_damaged: restore the frames of a damaged video that can be decoded.
      progress: see `video.inspect`.
      shots: ShotRule; None splits videos at cuts, and does not split images.
      deinterlacing: of interlaced videos, which are an error without it.
      deep: read videos of more than 8 bits as uint16.
      tonemap: see `video.inspect`.
      colours: `icc.KEEP` keeps the values of images, `icc.SRGB` converts them by their ICC profiles.
    Returns:
      list of Source, not empty.
    Raises:
      UserError: nothing found, not a video, frames of unequal size, a damaged or interlaced video, ...
    """
    found = clip_folders.find_clips(path, scale, need_gt=False, clips=clips, allow_gaps=allow_gaps,
                                    shots=ShotRule() if shots is None else shots, split=False,
                                    scanner=Scanner('', allow_damaged, progress, tonemap, deinterlacing))
    for note in sorted({note for clip in found if isinstance(clip.lq, ImageFrames)
                        for note in clip.lq.profiles.notes()}):
        print('note: ' + note)
    return [_source(clip, deep, colours) for clip in found]


def _source(clip, deep, colours):
    frames, profile = clip.lq, b''
    converted: typing.Tuple[str, ...] = ()
    if isinstance(frames, ImageFrames) and colours == icc.SRGB:
        converted = tuple(icc.name_of(found) for found in frames.profiles.usable() if not icc.is_srgb(found))
        frames = dataclasses.replace(frames, to_srgb=bool(converted))
    elif isinstance(frames, ImageFrames):
        profile = frames.profiles.common()
    info = frames.info if isinstance(frames, VideoFrames) else None
    names = tuple(frames.name(index) for index in range(clip.length))
    seen: typing.Dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise UserError('clip %s: %s and %s would both become %s.png; rename or remove one'
                            % (clip.name, frames.label(seen[name]), frames.label(index), name))
        seen[name] = index
    read = frames.read
    if info:
        read = functools.partial(_read_video, frames, 16 if deep and info.bits > 8 else 8)
    return Source(clip.name, clip.length, names, read, info, frames.path, covering(clip.shots, clip.length),
                  frames.size, profile=profile, converted=converted)


def _read_later(read, first, start):
    return read(first + start)


def _read_video(frames, bits, start):
    """Yields the frames of a VideoFrames from `start` on, see `video.decode`."""
    with contextlib.closing(video.decode(frames.info, frames.first + start, bits)) as decoded:
        yield from itertools.islice(decoded, frames.length - start)


def restored_frames(restorer: Restorer, source: Source, first: int = 0
                    ) -> typing.Generator[np.ndarray, None, None]:
    """Restores a Source shot by shot, so that no window crosses a cut.

    Args:
      restorer: Restorer.
      source: Source.
      first: the first frame to restore; of the frames before it only those are read that its windows need.
    Yields:
      float32 [s*H, s*W, 3] for each frame from `first` to the end, see `Restorer.restore_clip`.
    Raises:
      UserError: see `Restorer.restore_clip`.
    """
    shots = [shot for shot in source.shots or ((0, source.length),) if shot[1] > first]
    if not shots:
        return
    start = max(shots[0][0], first - (restorer.config.num_frames - 1))
    with contextlib.closing(read_ahead(source.read(start))) as stream:
        for begin, end in shots:
            begin = max(begin, start)
            frames = itertools.islice(stream, end - begin)
            for sr in restorer.restore_clip(frames, end - begin, max(first - begin, 0)):
                yield source.resize.apply(sr) if source.resize else sr


def put_frames(put: typing.Callable[[int, np.ndarray], None], restorer: Restorer, source: Source, first: int, end: int,
               progress: typing.Any) -> None:
    """Restores the frames of a Source from `first` to `end` (not included), and hands each to a function.

    Args:
      put: function (index, sr) that takes each restored frame, see `restored_frames`.
      progress: has `update()`, called after each frame.
    Raises:
      UserError: naming the clip.
    """
    try:
        with contextlib.closing(restored_frames(restorer, source, first)) as restored:
            for index, sr in zip(range(first, end), restored):
                put(index, sr)
                progress.update()
    except UserError as error:
        raise UserError('clip %s: %s' % (source.name, error)) from error


def shots_record(source: Source) -> typing.Dict[str, typing.Any]:
    """Returns what of a Source its restored frames depend on, for a record: shots, size, ... if it has them."""
    record: typing.Dict[str, typing.Any] = {}
    if len(source.shots) > 1:
        record['shots'] = [list(shot) for shot in source.shots]
    if source.resize:
        record['resize'] = list(source.resize)
    if source.video and source.video.tonemap:
        record['tonemap'] = source.video.tonemap
    if source.video and source.video.deinterlaced:
        record['deinterlaced'] = source.video.deinterlacing_filters
    if source.first:
        record['first'] = source.first
    if source.kept_profile:
        record['icc'] = hashlib.sha256(source.kept_profile).hexdigest()[:16]
    elif source.converted:
        record['icc'] = icc.SRGB
    return record
