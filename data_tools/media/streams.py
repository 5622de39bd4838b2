"""The streams that a video file states, and which of them is the film."""
import re
import typing

_LINE = re.compile(r'Stream #0:(\d+).*?: (Video|Audio|Subtitle|Data|Attachment): (\w+)(.*)')
_ALPHA_MODE = re.compile(r'alpha_mode +: 1\b', re.I)
VIDEO, COVER = 'video', 'cover'


class Stream(typing.NamedTuple):
    """Describes a stream of a file.

    Attributes:
      kind: 'video', 'cover' (a picture of the whole), 'audio', 'subtitle', 'data' or 'attachment'.
      codec: ffmpeg's name.
      default: whether the file marks it as the one to play.
      alpha: whether the file states transparency beside the pictures, as WebM does.
    """
    kind: str
    codec: str
    default: bool = False
    alpha: bool = False


def of_input(said: str) -> str:
    """Returns the part of ffmpeg's log that describes the input."""
    return said.split('Stream mapping')[0].split('Output #0')[0]


def parse(said: str) -> typing.List[Stream]:
    """Returns the streams of the input that ffmpeg describes in its log, by their numbers."""
    found: typing.Dict[int, Stream] = {}
    number = -1
    for line in of_input(said).splitlines():
        match = _LINE.search(line)
        if match:
            number = int(match.group(1))
            kind, rest = match.group(2).lower(), match.group(4)
            found[number] = Stream(COVER if '(attached pic)' in rest else kind, match.group(3), '(default)' in rest)
        elif number in found and _ALPHA_MODE.search(line):
            found[number] = found[number]._replace(alpha=True)
    return [found.get(number, Stream('data', 'unknown')) for number in range(max(found, default=-1) + 1)]


def film(streams: typing.Sequence[Stream]) -> typing.Optional[int]:
    """Returns the number of the video stream that players take: the first default one, else the first; or None."""
    numbers = [number for number, stream in enumerate(streams) if stream.kind == VIDEO]
    return next((number for number in numbers if streams[number].default), numbers[0] if numbers else None)
