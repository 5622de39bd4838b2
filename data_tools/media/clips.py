"""Finds clips on disk and checks that their LQ and GT frames match.

A clip is a folder of images in natural order (`2.png` before `10.png`) or a video. The root is a folder in one of the
layouts of `dataset_layouts.LAYOUTS`; if only LQ or only GT is requested, also a folder of clips, one clip, or a text
file that lists such roots, one per line.
"""
import collections
import dataclasses
import itertools
import json
import os
import typing

from data_tools.base import files, paths
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.media import dataset_layouts, icc, lmdb_source, video, video_scan
from data_tools.media.degradation import Degradation
from data_tools.media.frames import DegradedFrames, ImageFrames, Side, VideoFrames
from data_tools.media.image_folder import check_numbering, frame_numbers, natural_key, open_folder
from data_tools.media.lmdb_source import LmdbFrames
from data_tools.media.shots import NO_SPLIT, ShotRule, describe, shot_name

REDS4 = ('000', '011', '015', '020')                         # held out by the EDVR paper and its successors
REDS_OFFICIAL_VAL = tuple('%03d' % i for i in range(240, 270))   # the 30 validation clips after regrouping
SCALES = (2, 3, 4)
VERSION = '%s_version%d'   # the name of a further version of a clip
Names = typing.Optional[typing.Sequence[str]]


class Clip(typing.NamedTuple):
    """Frames of one clip.

    Attributes:
      name: of the clip.
      lq: the LQ frames, a `frames.Side`; None if they were not requested.
      gt: the GT frames, likewise.
      whole: name of the clip that this one is a shot of.
      first: number of its first frame there.
      shots: (first, end) each, the shots of a whole clip.
      mark: its fingerprint if it was computed.
    """
    name: str
    lq: typing.Any
    gt: typing.Any
    whole: str = ''
    first: int = 0
    shots: typing.Tuple[typing.Tuple[int, int], ...] = ()
    mark: str = ''

    @property
    def length(self) -> int:
        """Returns the number of frames."""
        return self.main.length

    @property
    def main(self) -> Side:
        """Returns the requested side; GT if both were requested."""
        return self.gt or self.lq

    @property
    def profile(self) -> bytes:
        """Returns the ICC profile that its values have in RGB images, b'' for none or several."""
        usable = self.main.profiles.usable() if isinstance(self.main, ImageFrames) else []
        return usable[0] if len(usable) == 1 and icc.can_be_kept(usable[0]) else b''

    def fingerprint(self) -> str:
        """Returns the fingerprint of the files that the clip consists of."""
        sides = [self.gt] if isinstance(self.lq, DegradedFrames) else [side for side in (self.lq, self.gt) if side]
        return '-'.join(side.fingerprint() for side in sides)


def find_clips(root: str, scale: int = 4, need_gt: bool = True, need_lq: bool = True, clips: Names = None,
               exclude: Names = None, allow_gaps: bool = False, *, part: str = '', lq_folder: str = '',
               degradation: typing.Optional[Degradation] = None, shots: ShotRule = NO_SPLIT, split: bool = True,
               scanner: typing.Optional[video_scan.Scanner] = None) -> typing.List[Clip]:
    """Finds all clips of a data set, in natural order of their names, and checks them.

    Args:
      root: a folder in one of the layouts of `dataset_layouts.LAYOUTS`, a video, or a file that lists such.
      scale: GT size / LQ size; checked if both are requested. GT may be larger by less than `scale` pixels at
        the right and at the bottom, which are then cropped: data sets make their LQ so.
      need_gt, need_lq: which sides to find; the other stays None.
      clips: names to take, in any order; None takes all. `parse_names` reads them from an option.
      exclude: names to leave out, or None.
      allow_gaps: accept gaps in the numbering of frames; time jumps there.
      part: 'train' or 'test': if the data set has such a list and `clips` is None, only its clips are taken.
      lq_folder: the folder with the LQ of each clip, under the root or anywhere; '' finds it by the layout.
      degradation: makes LQ from GT, and only GT is searched for; or None.
      shots: which clips are searched for shots.
      split: make each shot a Clip; else a Clip only knows its shots.
      scanner: of the videos; None creates one.
    Returns:
      at least one Clip.
    Raises:
      UserError: missing or empty folder, unknown name in `clips` or `exclude`, a clip found twice, a file that is not
        an image, unequal sizes inside a clip, gaps in the numbering, LQ and GT that differ in frames or size, a video
        that does not decode.
    """
    if not (need_gt or need_lq):
        raise ValueError('nothing to find: need_gt and need_lq are both False')
    _check_exists(root)
    found = dataset_layouts.find(root, scale, need_gt, need_lq and not degradation, lq_folder)
    for note in found.notes:
        print('note: %s' % note)
    sides = {side: {name: place.path for name, place in places.items()} for side, places in found.sides.items()}
    names = _choose(root, sorted({name for side in sides.values() for name in side}, key=natural_key), clips, exclude,
                    found.lists.get(part) if clips is None else None)
    _check_sides(names, sides, scale)
    if degradation:   # the name of a clip is part of the seed
        check_text(names)
    scanner = scanner or video_scan.Scanner()
    main = 'gt' if 'gt' in sides else 'lq'
    scanner.scan([(sides[side][name], side == main and shots.detects_video(name)) for side in sides for name in names
                  if dataset_layouts.is_video(sides[side][name])], shots)
    every = []
    for name in progress_bar(names, unit=' clips', desc='reading headers', delay=2):
        clip = _read_clip(name, {side: sides[side][name] for side in sides}, scale, allow_gaps, scanner)
        clip = clip._replace(shots=shots.shots_of(name, clip.main, scanner.shots))
        if len(clip.shots) > 1:
            print(describe(name, clip.shots))
        every.append(_degraded(clip, degradation) if degradation else clip)
    _tell_cropped(every)
    _tell_profiles(every)
    _tell_videos(every, scanner)
    return [piece for clip in every for piece in split_clip(clip)] if split else every


def check_given(path: str, tonemap: str = '') -> None:
    """Raises UserError for a path that holds no clips, as its name, or the begin of a video, shows at once.

    Args:
      path: as `root` of `find_clips`.
      tonemap: see `video.inspect`.
    """
    _check_exists(path)
    dataset_layouts.check_file(path)
    if os.path.isfile(path) and dataset_layouts.is_video(path):
        video.check(path, tonemap)


def _check_exists(path):
    if not os.path.exists(path):
        raise UserError('%s: no such file or folder of clips; %s' % (
            path, paths.how_to_make_sources(path) if path == paths.SOURCES else
            'give a video, a folder of images, a folder of clips or a list'))


def check_text(names: typing.Iterable[str]) -> None:
    """Raises UserError for a clip name that is not UTF-8, so that records, seeds and JSON files cannot hold it."""
    for name in names:
        if not files.is_utf8(name):
            raise UserError('the name of clip %r is not valid UTF-8: rename its folder or file' % name)


def parse_names(text: typing.Optional[str]) -> typing.Optional[typing.List[str]]:
    """Returns the clip names of a command-line value.

    Args:
      text: names separated by commas; among them may be `REDS4`, `all` for all clips, `@sets/val.json` (a JSON list)
        and `@sep_testlist.txt`. In a text file the first word of each line counts; A/B, as in the lists of Vimeo-90K,
        is the clip A_B.
    Returns:
      names without repeats; None for None or an empty text.
    Raises:
      UserError: the file is missing or contains something else.
    """
    names: typing.List[str] = []
    text = text or ''
    # the name of a file may hold a comma
    for item in [text] if text.startswith('@') and os.path.isfile(text[1:]) else text.split(','):
        item = item.strip()
        if item.startswith('@'):
            names += _read_names(item[1:])
        elif item == 'REDS4':
            names += REDS4
        elif item:
            names.append(item)
    return list(dict.fromkeys(names)) or None


def _read_names(path):
    try:
        text = files.read_text(path)
        if dataset_layouts.is_list(path):
            words = [line.partition('#')[0].split() for line in text.split('\n')]
            names = [line[0].replace('/', '_') for line in words if line]
        else:
            names = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError('cannot read clip names from %s: %s' % (path, error)) from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError('%s must contain a JSON list of clip names, as ["000", "011"], or be a .txt file with one '
                        'name per line' % path)
    return names


def _choose(root, names, clips, exclude, list_path):
    if list_path:
        clips = _read_names(list_path)
        print('note: the clips in %s are taken, %d of %d; --clips=all takes all' % (list_path, len(clips), len(names)))
    elif clips == ['all'] and 'all' not in names:
        clips = None
    known = set(names)
    for flag, asked in (('clips', clips), ('exclude', exclude)):
        unknown = sorted(set(asked or ()) - known, key=natural_key)
        if unknown:
            raise UserError('--%s names %s, not found in %s; there are %d clips: %s'
                            % (flag, _few(unknown), root, len(names), _few(names)))
    taken, left_out = known if clips is None else set(clips), set(exclude or ())
    chosen = [name for name in names if name in taken and name not in left_out]
    if not chosen:
        raise UserError('no clip is left of the %d in %s after --clips and --exclude' % (len(names), root))
    return chosen


def _few(names, limit=8):
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')


def _check_sides(names, sides, scale):
    for side, other in (('lq', 'gt'), ('gt', 'lq')):
        for name in names:
            if side in sides and name not in sides[side]:
                raise UserError('clip %s has %s frames in %s but no %s folder for scale %d; add the folder, or leave '
                                'the clip out%s' % (name, other.upper(), sides[other][name], side.upper(), scale,
                                                    '. --make_lq makes LQ from GT' if side == 'lq' else ''))


def _read_clip(name, paths, scale, allow_gaps, scanner):
    sides: typing.Dict[str, Side] = {}
    for side, path in paths.items():
        if dataset_layouts.is_video(path):
            info = scanner.info(path)
            sides[side] = VideoFrames(info, 0, info.num_frames, (info.height, info.width))
        else:
            sides[side] = _open_lmdb(path, allow_gaps) or open_folder(path, allow_gaps)
    if len(sides) == 2:
        sides['gt'] = _paired(name, sides['lq'], sides['gt'], scale)
    return Clip(name, sides.get('lq'), sides.get('gt'), name)


def _open_lmdb(path, allow_gaps):
    frames = lmdb_source.clip_at(path)
    if frames:
        check_numbering(path, [os.path.basename(key) + '.png' for key in frames.keys], allow_gaps)
    return frames


def _paired(name, lq, gt, scale):
    """Returns GT without what its sides have beyond a multiple of the scale; raises UserError if LQ is not of it."""
    if isinstance(lq, LmdbFrames) and isinstance(gt, LmdbFrames):
        gt = gt.at(lq)
    if lq.length != gt.length:
        raise UserError('clip %s: %d LQ frames in %s but %d GT frames in %s; they must be the same frames'
                        % (name, lq.length, lq.path, gt.length, gt.path))
    size = tuple(scale * side for side in lq.size)
    if not all(0 <= side - exact < scale for side, exact in zip(gt.size, size)):
        raise UserError('clip %s: GT must be exactly %d times the size of LQ, but %s is %dx%d and %s is %dx%d (height '
                        'x width); give the right --scale or make LQ again'
                        % ((name, scale, gt.label(0)) + gt.size + (lq.label(0),) + lq.size))
    if isinstance(lq, ImageFrames) and isinstance(gt, ImageFrames):
        _check_numbers(name, lq, gt)
    return gt.cropped(size)


def _check_numbers(name, lq, gt):
    """Raises UserError if the numbers of LQ and GT say that frames are missing, or can be read in two ways.

    Frames pair by order if their names share no numbers.
    """
    sides = frame_numbers(lq.paths), frame_numbers(gt.paths)
    agree, differ = [], []
    for a, b in itertools.product(*sides):
        if sides[0][a] == sides[1][b]:
            agree.append((a, b))
        elif set(sides[0][a]) & set(sides[1][b]) and (a == b or set(sides[0]) != set(sides[1])):
            differ.append((a, b))
    differ = [pair for pair in differ if not agree or _shares_most(*(side[at] for side, at in zip(sides, pair)))]
    if not differ:
        return
    a, b = differ[-1]
    index = next(i for i, pair in enumerate(zip(sides[0][a], sides[1][b])) if pair[0] != pair[1])
    if not agree:
        raise UserError('clip %s: frames do not match: %s is paired with %s; the same frame must have the same number'
                        % (name, lq.paths[index], gt.paths[index]))
    raise UserError('clip %s: the numbers in the names can be read in two ways: %s belongs to %s by the numbers %d and '
                    '%d, and not by %d and %d; rename the files so that only the frame number counts'
                    % ((name, lq.paths[index], gt.paths[index]) + tuple(
                        side[at][index] for pair in (agree[0], (a, b)) for side, at in zip(sides, pair))))


def _shares_most(numbers, others):
    return 2 * len(set(numbers) & set(others)) >= len(numbers)


def _degraded(clip, degradation):
    """Returns the clip with LQ made from its GT, which is cropped to sides that divide by the scale."""
    size = tuple(side // degradation.scale * degradation.scale for side in clip.gt.size)
    if not all(size):
        raise UserError('clip %s: GT of %dx%d is smaller than one LQ pixel at scale %d'
                        % ((clip.name,) + clip.gt.size + (degradation.scale,)))
    gt = clip.gt.cropped(size)
    return clip._replace(gt=gt, lq=DegradedFrames(gt, degradation, clip.name))


def _tell_cropped(clips):
    cropped: typing.Dict[typing.Any, typing.List[str]] = collections.OrderedDict()
    for clip in clips:
        if clip.gt and clip.gt.size != clip.gt.file_size:
            cropped.setdefault((clip.gt.file_size, clip.gt.size), []).append(clip.name)
    for (before, after), names in cropped.items():
        print('note: GT of %dx%d (height x width) is cropped to %dx%d at the right and at the bottom, in %d clips: %s'
              % (before + after + (len(names), _few(names))))


def _tell_profiles(clips):
    differ = []
    for clip in clips:
        if isinstance(clip.lq, ImageFrames) and isinstance(clip.gt, ImageFrames):
            lq, gt = (set(side.profiles.usable()) for side in (clip.lq, clip.gt))
            if lq and gt and lq != gt:
                differ.append(clip.name)
    if differ:
        print('note: LQ and GT have different ICC profiles, and their values are used as they are, in %d clips: %s'
              % (len(differ), _few(differ)))


def _tell_videos(clips, scanner):
    unneeded = scanner.unneeded()
    if unneeded:
        print('note: --deinterlace changes nothing in %s: all frames are flagged as progressive; telecined film with '
              'such flags needs ffmpeg first, as by -vf fieldmatch,decimate' % _few(unneeded))
    for frames in (side for clip in clips for side in (clip.lq, clip.gt) if isinstance(side, VideoFrames)):
        info = frames.info
        others = [str(number) for number, (kind, _) in enumerate(info.streams)
                  if kind == 'video' and number != info.film]
        if others:
            print('note: %s: video stream %d is taken, as players take it; there is also %s'
                  % (info.path, info.film, ', '.join(others)))
        if info.missing:
            print('note: %s: %d of the pictures that it holds give no frame%s: they are missing in what is made of it; '
                  'another ffmpeg (IMAGEIO_FFMPEG_EXE) may decode them' % (info.path, info.missing, (
                      ', first at %.3f s' % info.missing_from if info.missing_from is not None else '')))


def split_clip(clip: Clip) -> typing.Iterator[Clip]:
    """Yields a Clip for each shot of a Clip; its name is that of the whole clip if that is one shot."""
    for number, (first, end) in enumerate(clip.shots):
        name = shot_name(clip.name, number, len(clip.shots))
        lq, gt = (side and side.stretch(first, end) for side in (clip.lq, clip.gt))
        if isinstance(lq, DegradedFrames):
            lq = DegradedFrames(gt, lq.degradation, name)
        yield Clip(name, lq, gt, clip.name, first)


def versions_of(clip: Clip, count: int) -> typing.List[Clip]:
    """Returns a clip with made LQ as often as given, under names on which the draws of its degradation depend."""
    names = [clip.name] + [VERSION % (clip.name, number) for number in range(1, count)]
    return [clip._replace(name=name, lq=dataclasses.replace(clip.lq, clip=name)) if count > 1 else clip
            for name in names]


def groups(clips: typing.Iterable[Clip]) -> typing.List[typing.List[Clip]]:
    """Groups clips to read one after the other: the shots of a video together, every other clip alone."""
    together: typing.Dict[typing.Any, typing.List[Clip]] = {}
    for clip in clips:
        videos = [side.path for side in (clip.gt, clip.lq) if isinstance(side, VideoFrames)]
        together.setdefault(tuple(videos) or clip.name, []).append(clip)
    return [sorted(group, key=lambda clip: clip.first) for group in together.values()]
