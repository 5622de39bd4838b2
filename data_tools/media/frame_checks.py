"""What a scan of a video looks for beside the times of its frames, in the same run of ffmpeg.

Each check is a further output of ffmpeg, of small files in a folder.
"""
import os
import re
import typing

from data_tools.media import ffmpeg

_OPAQUE = 253.5   # of 255: deeper alpha loses a step when it is written and read
_NUMBERED = 'settb=1/1000,setpts=N,'   # times may repeat
# The first frame after ffmpeg begins its filters gets another colour than the others. All frames are written: ffmpeg
# 9.0.2 may stop for ever if one output has a frame and no more, and another one has filters that delay theirs.
_BEGINNINGS = _NUMBERED + ("scale=16:16:flags=neighbor,format=yuv420p,lutyuv=y=16:u=16:v=16,"
                           "lutyuv=y=99:enable='eq(n,0)'")
_FIELDS = _NUMBERED + "select='not(eq(interlace_type,PROGRESSIVE))',scale=16:16"
_ALPHA = (_NUMBERED + 'alphaextract,format=gray,signalstats,'
          'metadata=select:key=lavfi.signalstats.YMIN:value=%g:function=less,scale=16:16') % _OPAQUE


class Found(typing.NamedTuple):
    """Holds the result of the checks.

    Attributes:
      interlaced: number of the first frame that is interlaced, None without any; see `changes`.
      transparent: number of the first frame that is transparent in places, None without any; see `changes`.
      filtered: frames that further filters give.
      changes: whether the size or format of the frames changes. ffmpeg then begins its filters anew, and numbers are
        those after a change.
    """
    interlaced: typing.Optional[int]
    transparent: typing.Optional[int]
    filtered: int
    changes: bool


def outputs(folder: str, film: int, alpha: bool, filters: str = '') -> typing.List[str]:
    """Returns the options of the outputs of ffmpeg that check a stream.

    Args:
      folder: for their files.
      film: number of the stream.
      alpha: whether its frames may be transparent.
      filters: whose frames are counted; '' counts none.
    """
    first = ['-frames:v', '1']
    checks: typing.List[typing.Tuple[str, str, typing.List[str]]] = [
        ('beginnings', _BEGINNINGS, []), ('interlaced', _FIELDS, first)]
    checks += [('transparent', _ALPHA, first)] if alpha else []
    checks += [('filtered', filters + ',' + _NUMBERED + 'scale=16:16', [])] if filters else []
    return [argument for name, check, count in checks for argument in (
        '-map', '0:%d' % film, '-vf', check, *count, *ffmpeg.each_frame(), '-enc_time_base', '1/1000',
        '-f', 'framecrc', ffmpeg.file_name(os.path.join(folder, name)))]


def read(folder: str) -> Found:
    """Returns what the outputs in a folder contain, see `outputs`."""
    first = [next(iter(_numbers(folder, name)), None) for name in ('interlaced', 'transparent')]
    return Found(first[0], first[1], len(_numbers(folder, 'filtered')), _changes(folder))


def _changes(folder):
    """Returns whether another frame than the first has its colour in the output of beginnings."""
    colours = [line.split()[-1] for line in _lines(folder, 'beginnings')]
    return colours.count(colours[0]) > 1 if colours else False


def _numbers(folder, name):
    """Returns the numbers of the frames in an output; [] without one."""
    return [int(line.split(',')[2]) for line in _lines(folder, name)]


def _lines(folder, name):
    """Returns the lines of the frames in an output; [] without one."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding='ascii', errors='replace') as file:
        return re.findall(r'^0, *-?\d+, *-?\d+,.*', file.read(), re.M)
