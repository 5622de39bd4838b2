"""Detects shots: the parts of a clip between cuts.

A cut is where ffmpeg's scene score (the change of the mean difference between frames, 0 to 1; filter `select`, in every
version of ffmpeg) is at least a threshold and stands out from the scores around it, as it does not in fast motion. The
score is computed on pictures of 320x180. Fades and dissolves are not cuts.
"""
import contextlib
import subprocess
import tempfile
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg
from data_tools.media.config import ShotConfig
from data_tools.media.frames import ImageFrames, VideoFrames

_FILTERS = "scale=320:180:flags=bilinear,format=rgb24,select='gte(scene,0)',metadata=print:file=-"
_SHOWN = 50
Shots = typing.Tuple[typing.Tuple[int, int], ...]   # (first, end) each, END not included
_NEIGHBOURS, _RATIO = 2, 3.   # the score of a cut is _RATIO times the mean of _NEIGHBOURS scores on each side of it


Source = typing.Union[ImageFrames, VideoFrames]


class ShotRule(typing.NamedTuple):
    """Describes how clips are split.

    Attributes:
      split: whether clips are split at cuts; None splits videos only.
      threshold: lowest score that is a cut.
      min_frames: no shot becomes shorter than this.
      given: {name: shots} of clips whose shots are known.
    """
    split: typing.Optional[bool] = None
    threshold: float = .1
    min_frames: int = 5
    given: typing.Mapping[str, Shots] = {}

    @classmethod
    def from_config(cls, config: ShotConfig) -> 'ShotRule':
        """Returns the ShotRule of a ShotConfig. Raises UserError if its file cannot be read."""
        return cls(config.split_shots, config.shot_threshold, config.shot_min_frames,
                   read_shots(config.shots) if config.shots else {})

    def detects_video(self, name: str) -> bool:
        """Returns whether shots are detected in the video `name`."""
        return name not in self.given and self.split is not False

    def shots_of(self, name: str, frames: Source, detect_in: typing.Callable[[Source, 'ShotRule'], Shots]) -> Shots:
        """Returns the shots of a clip, given or detected.

        Args:
          name: of the clip.
          frames: all its frames.
          detect_in: function (frames, rule) -> shots.
        Raises:
          UserError: given shots that do not fit the clip.
        """
        if name in self.given:
            return checked(self.given[name], frames.length, name)
        detects = isinstance(frames, VideoFrames) if self.split is None else self.split
        return detect_in(frames, self) if detects else ((0, frames.length),)


NO_SPLIT = ShotRule(split=False)


def detect(frames: Source, threshold: float = .1, min_frames: int = 5,
           alive: typing.Callable[[], typing.Any] = lambda: None) -> Shots:
    """Detects the shots of a clip.

    Args:
      frames: a whole video, or image files.
      threshold: lowest score that is a cut.
      min_frames: no shot becomes shorter than this.
      alive: function called regularly; an exception that it raises ends the search.
    Returns:
      shots that cover all frames.
    Raises:
      UserError: the frames cannot be read.
    """
    return cut(scores(frames, alive), threshold, min_frames)


def scores(frames: Source, alive: typing.Callable[[], typing.Any] = lambda: None) -> typing.List[float]:
    """Returns ffmpeg's scene score of each frame against the one before it; 0 for the first.

    Args:
      frames, alive: arguments of `detect`.
    Raises:
      UserError: frames that cannot be read, a video of which fewer frames decode than before.
    """
    with tempfile.TemporaryFile() as output:
        first = 0
        if isinstance(frames, VideoFrames) and not frames.info.changes:   # at a change there would be no score
            _score_video(frames, output, alive)
            first = frames.first
        else:
            _score_frames(frames, output, alive)
        output.seek(0)
        lines = output.read().decode('ascii', 'replace').splitlines()
    values = [float(line.split('=')[1]) for line in lines if line.startswith('lavfi.scene_score=')]
    values = values[first:first + frames.length]
    if len(values) < frames.length:
        raise UserError('%s: looking for cuts ended after %d of %d frames' % (frames.path, len(values), frames.length))
    return [0.] + values[1:]


def _score_video(frames, output, alive):
    """Writes ffmpeg's scores of a whole video."""
    filters = ','.join(filter(None, (frames.info.deinterlacing_filters, _FILTERS)))
    arguments = ffmpeg.command('-loglevel', 'quiet', *ffmpeg.source(frames.path), '-map', '0:%d' % frames.info.film,
                               '-vf', filters, '-f', 'null', '-')
    with ffmpeg.decoding(arguments, output, stderr=subprocess.DEVNULL) as (process, done):
        done(frames.info.num_frames)
        while process.poll() is None:   # its code does not matter: a damaged video gives one after its last frame
            alive()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)


def _score_frames(frames, output, alive):
    """Writes ffmpeg's scores of frames that are decoded here."""
    def chunks() -> typing.Iterator[bytes]:
        for frame in frames.read():
            alive()
            yield frame.tobytes()

    size = '%dx%d' % frames.size[::-1]
    ffmpeg.feed(ffmpeg.command('-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-i', 'pipe:0',
                               '-vf', _FILTERS, '-f', 'null', '-', read_stdin=True), chunks(), output)


def cut(values: typing.Sequence[float], threshold: float, min_frames: int) -> Shots:
    """Returns the shots between the cuts that the scores of all frames indicate; other arguments of `detect`."""
    length, starts = len(values), [0]
    for index, value in enumerate(values):
        around = [values[i] for i in range(index - _NEIGHBOURS, index + _NEIGHBOURS + 1)
                  if i != index and 0 <= i < length]
        if value < threshold or value * len(around) < _RATIO * sum(around):
            continue
        if index - starts[-1] >= min_frames and length - index >= min_frames:
            starts.append(index)
    return tuple(zip(starts, starts[1:] + [length]))


def read_shots(path: str) -> typing.Dict[str, Shots]:
    """Reads {name: shots} from a JSON file {"NAME": [[FIRST, END], ...]}. Raises UserError for other content."""
    values = files.read_json(path)
    valid = isinstance(values, dict) and all(
        isinstance(pairs, list) and pairs and all(
            isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair)
            for pair in pairs) for pairs in values.values())
    if not valid:
        raise UserError('%s must contain the shots of clips as {"NAME": [[FIRST, END], ...]}, frame numbers from 0, '
                        'END '
                        'not included' % path)
    return {name: tuple((first, end) for first, end in pairs) for name, pairs in values.items()}


def checked(shots: Shots, length: int, name: str) -> Shots:
    """Returns the shots if they fit the clip `name` of `length` frames; else raises UserError."""
    before = 0
    for first, end in shots:
        if not before <= first < end <= length:
            raise UserError('clip %s has %d frames, and its shots must follow one another inside them; [%d, %d] after '
                            'frame %d does not' % (name, length, first, end, before))
        before = end
    return tuple(shots)


def covering(shots: Shots, length: int) -> Shots:
    """Returns the shots and the parts between them as further shots: a restoration must cover all frames."""
    complete: typing.List[typing.Tuple[int, int]] = []
    before = 0
    for first, end in tuple(shots) + ((length, length),):
        if before < first:
            complete.append((before, first))
        if first < end:
            complete.append((first, end))
        before = end
    return tuple(complete)


def shot_name(name: str, number: int, count: int) -> str:
    """Returns the name of a shot: that of its clip if it is the only one."""
    return name if count == 1 else '%s_shot%0*d' % (name, max(3, len(str(count - 1))), number)


def describe(name: str, shots: Shots) -> str:
    """Describes the shots of a clip in one line for the log."""
    listed = ', '.join('%d-%d' % (first, end - 1) for first, end in shots[:_SHOWN])
    return '%s: %d shots: %s%s' % (name, len(shots), listed, ', ...' if len(shots) > _SHOWN else '')
