"""What a scan of a video looks for beside the times of its frames, in the same run of ffmpeg.

Each check is a further output of ffmpeg, of small files in a folder.
"""
import os
import re
import typing

from data_tools.media import ffmpeg

_OPAQUE = 253.5   # of 255: deeper alpha loses a step when it is written and read
_FIELDS = "select='not(eq(interlace_type,PROGRESSIVE))',scale=16:16"
_ALPHA = ('alphaextract,format=gray,signalstats,metadata=select:key=lavfi.signalstats.YMIN:value=%g:function=less,'
          'scale=16:16' % _OPAQUE)


class Found(typing.NamedTuple):
    """The result of the checks.

    Attributes:
      interlaced: number of the first frame that is interlaced, None without any.
      transparent: number of the first frame that is transparent in places, None without any.
    """
    interlaced: typing.Optional[int]
    transparent: typing.Optional[int]


def outputs(folder: str, film: int, alpha: bool) -> typing.List[str]:
    """Returns the options of the outputs of ffmpeg that check a stream.

    Args:
      folder: for their files.
      film: number of the stream.
      alpha: whether its frames may be transparent.
    """
    arguments: typing.List[str] = []
    for name, filters in [('interlaced', _FIELDS)] + ([('transparent', _ALPHA)] if alpha else []):
        arguments += ['-map', '0:%d' % film, '-vf', filters, '-frames:v', '1', *ffmpeg.each_frame(),
                      *ffmpeg.source_times(), '-f', 'framecrc', ffmpeg.file_name(os.path.join(folder, name))]
    return arguments


def read(folder: str, times: typing.Sequence[typing.Optional[int]]) -> Found:
    """Returns what the outputs in a folder contain.

    Args:
      folder: see `outputs`.
      times: of all frames, as ffmpeg lists them; None for unknown ones.
    """
    return Found(_first(folder, 'interlaced', times), _first(folder, 'transparent', times))


def _first(folder, name, times):
    """Returns the number of the only frame in an output; None if it has none."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return None
    with open(path, encoding='ascii', errors='replace') as file:
        found = re.search(r'^0, *-?\d+, *(-?\d+),', file.read(), re.M)
    if not found:
        return None
    time = int(found.group(1))
    return times.index(time) if time in times else 0
