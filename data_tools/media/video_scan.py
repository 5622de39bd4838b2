"""Scans videos before they are used: counts the frames that decode and detects shots.

Both decode every frame, so the results are cached in a file under the fingerprint of the video.
"""
import concurrent.futures
import json
import os
import threading
import time
import typing
from fractions import Fraction

from data_tools.base import files, schema, worker_pool
from data_tools.base.errors import UserError
from data_tools.base.progress import progress_bar
from data_tools.media import fingerprint, shots, video
from data_tools.media.deinterlacing import NONE as NO_DEINTERLACING
from data_tools.media.deinterlacing import Deinterlacing
from data_tools.media.frames import VideoFrames

_THREADS = 4          # videos at a time; ffmpeg has threads too
_SAVE_SECONDS = 30.
_PIXELS = 2 ** 28   # of a frame; ffmpeg decodes no larger ones

_FRACTION = schema.Record(fraction=schema.Text(r'(0|-?[1-9][0-9]{0,39})(/[1-9][0-9]{0,39})?'))
_POSITIVE = schema.Record(fraction=schema.Text(r'[1-9][0-9]{0,39}(/[1-9][0-9]{0,39})?'))
# of the values of VideoInfo in the cache, which may come with a data set from elsewhere
_INFO = schema.Record(
    dict(curve=schema.OneOf('', *video.CURVES), tonemap=schema.OneOf('', *video.TONEMAPS),
         container=schema.Text(r'[A-Za-z0-9_ ,.-]{0,200}'), last=schema.Nullable(_POSITIVE),
         own_times=schema.Boolean(), deinterlaced=schema.Text(),   # of earlier versions; it is not used
         cut=schema.OneOf(None), first=schema.OneOf(0), missing=schema.Integer(0, 2 ** 53),
         missing_from=schema.Nullable(_FRACTION)),
    height=schema.Integer(1, _PIXELS), width=schema.Integer(1, _PIXELS), num_frames=schema.Integer(1, 2 ** 53),
    rate=_POSITIVE, constant_rate=schema.Boolean(), start=schema.Number(-2 ** 53, 2 ** 53), time_base=_POSITIVE,
    times=schema.ListOf(schema.Integer(0, 2 ** 63)), matrix=schema.OneOf(None, *video.MATRICES),
    full_range=schema.Boolean(), pixel_format=schema.Text(r'[a-z0-9_]{1,40}'), pixel_aspect=_POSITIVE,
    interlaced=schema.Nullable(schema.Integer(0, 2 ** 53)),
    streams=schema.ListOf(schema.Pair(schema.Text(r'[a-z]{1,20}'), schema.Text(r'[A-Za-z0-9_]{1,40}')), least=1),
    chapters=schema.Integer(0, 2 ** 53), film=schema.Integer(0, 2 ** 53), changes=schema.Boolean())
_SHOTS = schema.ListOf(schema.Pair(schema.Integer(0, 2 ** 53), schema.Integer(1, 2 ** 53)), least=1)


class Scanner:
    """Scans each video once."""

    def __init__(self, path: str = '', allow_damaged: bool = False, progress: video.Progress = None,
                 tonemap: str = '', deinterlacing: Deinterlacing = NO_DEINTERLACING, combed: bool = False) -> None:
        """Reads the results that an earlier scanner has cached.

        Args:
          path: file that caches the results; '' keeps them in memory only.
          allow_damaged: take the frames that decode of damaged videos.
          progress: function called with the number of frames decoded so far, instead of a bar.
          tonemap, deinterlacing: see `video.inspect`.
          combed: accept interlaced frames as they are.
        """
        self._path, self._allow_damaged, self._progress = path, allow_damaged, progress
        self._tonemap, self._deinterlacing, self._combed = tonemap, deinterlacing, combed
        self._known = _read(path)
        self._infos: typing.Dict[str, video.VideoInfo] = {}
        self._shots: typing.Dict[str, typing.Any] = {}   # {path: Shots}
        self._lock, self._stop, self._saved = threading.Lock(), threading.Event(), time.time()

    def scan(self, videos: typing.Sequence[typing.Tuple[str, bool]], rule: shots.ShotRule) -> None:
        """Scans videos.

        Args:
          videos: (path, whether shots are to be detected) of each.
          rule: how shots are detected.
        Raises:
          UserError: the errors of `video.inspect` and `shots.detect`.
        """
        if not videos:
            return
        if self._progress:
            for path, detects in videos:
                self._scan_one(path, detects, rule, self._progress)
            return
        total = sum(filter(None, (video.stated_frames(path) * (2 if detects else 1) for path, detects in videos)))
        with progress_bar(total=total or None, unit=' frames', desc='looking through videos', delay=1) as bar:
            self._scan_all(videos, rule, bar)
        self._save()

    def info(self, path: str) -> video.VideoInfo:
        """Returns the properties of a scanned video."""
        return self._infos[path]

    def unneeded(self) -> typing.List[str]:
        """Returns the paths of the scanned videos to which deinterlacing is applied without need, sorted."""
        return sorted(path for path, info in self._infos.items()
                      if self._deinterlacing.method and info.interlaced is None)

    def shots(self, frames: shots.Source, rule: shots.ShotRule) -> shots.Shots:
        """Returns the shots of a whole clip: those that `scan` found for videos, else detected now."""
        return self._shots.get(frames.path) or shots.detect(frames, rule.threshold, rule.min_frames)

    def _scan_all(self, videos, rule, bar):
        def work(path: str, detects: bool) -> None:
            before = 0

            def progress(count: int) -> None:
                nonlocal before
                if self._stop.is_set():
                    raise worker_pool.StoppedError
                with self._lock:
                    bar.update(count - before)
                before = count
            self._scan_one(path, detects, rule, progress)

        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            futures = [pool.submit(work, *item) for item in videos]
            try:
                for future in concurrent.futures.as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                self._save()
                raise

    def _scan_one(self, path, detects, rule, progress):
        mark = fingerprint.of_file(path, fingerprint.VIDEO_BLOCKS)
        if self._deinterlacing.method:
            mark = ' '.join([mark, *self._deinterlacing])
        known = self._known.get(mark)
        known = known if isinstance(known, dict) else {}
        info = _info_from_json(known.get('info'), path, self._deinterlacing)
        if info is None:
            info = video.inspect(path, progress, self._allow_damaged, self._tonemap, self._deinterlacing)
            known = dict(info=_to_json(info))
        if info.interlaced is not None and not (info.deinterlaced or self._combed):
            raise UserError('%s is interlaced%s: such frames combine fields of two moments; --deinterlace makes '
                            'whole frames, in edvr.infer, make_tfrecords and make_lq'
                            % (path, '' if info.changes else ' from frame %d on' % info.interlaced))
        if detects:
            key = 'shots %r %d' % (rule.threshold, rule.min_frames)
            if not _are_shots(known.get(key), info.num_frames):
                frames = VideoFrames(info, 0, info.num_frames, (info.height, info.width))
                found = shots.detect(frames, rule.threshold, rule.min_frames, lambda: progress(info.num_frames))
                known = dict(known, **{key: found})
                progress(2 * info.num_frames)
            self._shots[path] = tuple(tuple(pair) for pair in known[key])
        self._infos[path] = info
        with self._lock:
            self._known[mark] = known
            if time.time() - self._saved > _SAVE_SECONDS:
                self._save()

    def _save(self):
        if self._path and self._known != _read(self._path):
            files.make_dir(os.path.dirname(self._path))
            files.write_json(self._path, self._known)
        self._saved = time.time()


def _read(path):
    """Reads the cached results; empty without a file or with a damaged one: then the videos are decoded again."""
    try:
        known = files.read_json(path) if path and files.exists(path) else {}
    except UserError:
        known = {}
    return known if isinstance(known, dict) else {}


def _to_json(info):
    """Returns a VideoInfo as a dict for JSON, without its path and what the options of a run say."""
    values = {key: {'fraction': str(value)} if isinstance(value, Fraction) else value
              for key, value in info._asdict().items() if key not in ('path', 'deinterlaced')}
    return json.loads(json.dumps(values))


def _info_from_json(values, path, deinterlacing):
    """Returns the VideoInfo, or None if the values are not those of one."""
    if list(_INFO.problems(values, '')):
        return None
    values = {key: Fraction(value['fraction']) if isinstance(value, dict) else
              tuple(tuple(item) if isinstance(item, list) else item for item in value)
              if isinstance(value, list) else value for key, value in values.items() if key != 'deinterlaced'}
    info = video.VideoInfo(path=path, **values)
    if info.interlaced is not None and deinterlacing.method:
        info = info._replace(deinterlaced=deinterlacing)
    # each frame has a byte in the file, and with field two frames have one
    valid = (info.height * info.width <= _PIXELS and info.num_frames <= 2 * os.path.getsize(path)
             and len(info.times) in (0, info.num_frames) and info.film < len(info.streams))
    return info if valid else None


def _are_shots(values, length):
    """Returns whether the values are shots that follow one another and cover a video of `length` frames."""
    if list(_SHOTS.problems(values, '')):
        return False
    firsts, ends = zip(*values)
    return firsts == (0,) + ends[:-1] and ends[-1] == length and all(first < end for first, end in values)
