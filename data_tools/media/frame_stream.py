"""Frames that another program writes to a pipe: Y4M, whose header has size, rate, fields and pixel aspect, or raw ones.

Colours are converted as those of files (`data_tools.media.video`); a pipe has no tag for the matrix: the size decides.
"""
import contextlib
import subprocess
import tempfile
import threading
import typing
from fractions import Fraction

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, video

Y4M, RAW = 'y4m', 'raw'
_MAGIC = b'YUV4MPEG2'
_LINE = 1024            # bytes of a header line, at most
_MOST_PIXELS, _MOST_A_SIDE = 1 << 28, 1 << 16
_BYTES = 1 << 20        # read at a time
_FIELDS = {'t': 'tff', 'b': 'bff', 'm': 'auto', 'p': '', '?': ''}   # of Y4M: ffmpeg's name of the order of fields


class PixelFormat(typing.NamedTuple):
    """Describes how the samples of a frame lie in memory.

    Attributes:
      name: ffmpeg's.
      planes: (samples a pixel, log2 of the columns and of the rows that share one), one for each plane.
      bits: of a sample; more than 8 take two bytes.
    """
    name: str
    planes: typing.Tuple[typing.Tuple[int, int, int], ...]
    bits: int = 8

    def frame_bytes(self, height: int, width: int) -> int:
        """Returns the bytes of a frame."""
        samples = sum(count * -(-width >> columns) * -(-height >> rows) for count, columns, rows in self.planes)
        return samples * (1 if self.bits == 8 else 2)


def _with_chroma(name: str, columns: int, rows: int) -> typing.Dict[str, PixelFormat]:
    planes = ((1, 0, 0), (1, columns, rows), (1, columns, rows))
    deep = [PixelFormat('%sp%dle' % (name, bits), planes, bits) for bits in (9, 10, 12, 14, 16)]
    return {item.name: item for item in [PixelFormat(name + 'p', planes)] + deep}


PIXEL_FORMATS: typing.Dict[str, PixelFormat] = dict(
    rgb24=PixelFormat('rgb24', ((3, 0, 0),)), bgr24=PixelFormat('bgr24', ((3, 0, 0),)),
    rgb48le=PixelFormat('rgb48le', ((3, 0, 0),), 16), gray=PixelFormat('gray', ((1, 0, 0),)),
    **_with_chroma('yuv420', 1, 1), **_with_chroma('yuv422', 1, 0), **_with_chroma('yuv444', 0, 0))
# of Y4M, without its 9 to 16 bits such as 420p10
_COLOURS = {'420': 'yuv420p', '420jpeg': 'yuv420p', '420mpeg2': 'yuv420p', '420paldv': 'yuv420p', '422': 'yuv422p',
            '444': 'yuv444p', 'mono': 'gray'}
_COLOURS.update({item.name[3:].replace('le', ''): item.name for item in PIXEL_FORMATS.values() if item.bits > 8})


class FrameStream(typing.NamedTuple):
    """Frames on a pipe.

    Attributes:
      file: binary file, read once, in order.
      name: for messages.
      height, width: pixels.
      pixel_format: of the frames.
      rate: frames per second; None if the stream does not state it.
      fields: order of the fields of interlaced frames, by ffmpeg's name; '' for progressive ones.
      pixel_aspect: width of a pixel over its height.
      full_range: whether the values use the full range.
      framed: whether a line comes before each frame, as in Y4M.
    """
    file: typing.BinaryIO
    name: str
    height: int
    width: int
    pixel_format: PixelFormat
    rate: typing.Optional[Fraction]
    fields: str = ''
    pixel_aspect: Fraction = Fraction(1)
    full_range: bool = False
    framed: bool = True

    def frames(self, bits: int = 8, deinterlace: str = '') -> typing.Iterator[np.ndarray]:
        """Yields all frames: uint8 or uint16 [H, W, 3], RGB.

        Args:
          bits: 8 or 16, a channel.
          deinterlace: ffmpeg's filter that makes a whole frame of each pair of fields, or ''.
        Raises:
          UserError: the stream ends inside a frame, or has something else between frames.
        """
        dtype, output = (np.dtype(np.uint8), 'rgb24') if bits == 8 else (np.dtype('<u2'), 'rgb48le')
        size = self.height * self.width * 3 * dtype.itemsize
        filters = ['setfield=' + self.fields, deinterlace] if deinterlace else []
        matrix = video.matrix_of(self.pixel_format.name, '', self.height, self.width)
        filters.append(video.rgb_filters(matrix, self.full_range, output))
        arguments = ffmpeg.command(
            '-loglevel', 'error', '-f', 'rawvideo', '-pix_fmt', self.pixel_format.name,
            '-s', '%dx%d' % (self.width, self.height), '-i', 'pipe:0', '-vf', ','.join(filters), *ffmpeg.each_frame(),
            '-f', 'rawvideo', '-pix_fmt', output, 'pipe:1', read_stdin=True)
        with tempfile.TemporaryFile() as log, \
                ffmpeg.running(arguments, subprocess.PIPE, stdin=subprocess.PIPE, stderr=log) as process:
            assert process.stdin is not None and process.stdout is not None
            converted = process.stdout
            errors: typing.List[BaseException] = []
            feeder = threading.Thread(target=self._feed, args=(process.stdin, errors), daemon=True)
            feeder.start()
            for data in iter(lambda: converted.read(size), b''):
                if len(data) < size:
                    break
                yield np.frombuffer(data, dtype).reshape(self.height, self.width, 3)
            feeder.join()
            if errors:
                raise errors[0]
            if process.wait():
                raise UserError('%s: %s' % (self.name, ffmpeg.failure(process.returncode, ffmpeg.text(log))))

    def _feed(self, target: typing.IO[bytes], errors: typing.List[BaseException]) -> None:
        """Copies the samples of the frames to a pipe, and closes it; keeps an error in a list."""
        try:
            with contextlib.closing(target):
                for data in self._samples():
                    target.write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):   # ffmpeg has ended, and its log says why
                errors.append(UserError('%s: %s' % (self.name, error.strerror)))
        except UserError as error:
            errors.append(error)
        except ValueError:
            if not target.closed:   # closed: nobody reads the frames any more
                raise

    def _samples(self) -> typing.Iterator[bytes]:
        size, index = self.pixel_format.frame_bytes(self.height, self.width), 0
        while True:
            line = self.file.readline(_LINE) if self.framed else b''
            if self.framed and not line:
                return
            if self.framed and not (line.startswith(b'FRAME') and line.endswith(b'\n')):
                raise UserError('%s: frame %d begins with %r instead of FRAME' % (self.name, index, line[:20]))
            left = size
            while left:
                data = self.file.read(min(left, _BYTES))
                if not data and left == size and not self.framed:
                    return
                if not data:
                    raise UserError('%s ends inside frame %d, after %d of its %d bytes: the program that writes it '
                                    'stopped early' % (self.name, index, size - left, size))
                left -= len(data)
                yield data
            index += 1


def open_raw(file: typing.BinaryIO, name: str, size: typing.Tuple[int, int], pixel_format: str) -> FrameStream:
    """Returns the FrameStream of raw frames: `size` is (height, width), `pixel_format` is one of PIXEL_FORMATS."""
    height, width = size
    return FrameStream(file, name, height, width, PIXEL_FORMATS[pixel_format], None, framed=False)


def open_y4m(file: typing.BinaryIO, name: str) -> FrameStream:
    """Returns the FrameStream of a binary file with Y4M.

    Raises:
      UserError: it is something else, a header that is damaged, or colours that are not read.
    """
    line = file.readline(_LINE)
    words = line.split()
    if not words or words[0] != _MAGIC:
        raise UserError('%s begins with %r, which is no Y4M (%s); give the size of raw frames by --raw_size'
                        % (name, line[:16], _MAGIC.decode()) if line else
                        '%s is empty: the program that writes it sent no frames' % name)
    found = {word[:1]: word[1:].decode('ascii', 'replace') for word in reversed(words[1:])}
    try:
        height, width = int(found[b'H']), int(found[b'W'])
        rate, aspect = (_ratio(found.get(letter, '0:0')) for letter in (b'F', b'A'))
        fields = _FIELDS[found.get(b'I', 'p')]
    except (KeyError, ValueError):
        raise UserError('%s: its header is damaged: %r' % (name, line[:200])) from None
    colour = found.get(b'C', '420')
    if colour not in _COLOURS:
        raise UserError('%s has the colours %r of Y4M; read are %s' % (name, colour, ' '.join(sorted(_COLOURS))))
    check_size(height, width, name)
    return FrameStream(file, name, height, width, PIXEL_FORMATS[_COLOURS[colour]], rate, fields, aspect or Fraction(1),
                       b'XCOLORRANGE=FULL' in words)


def _ratio(text: str) -> typing.Optional[Fraction]:
    """Returns a ratio of Y4M such as 30000:1001; None for 0:0, which means unknown. Raises ValueError."""
    over, under = (int(number) for number in text.split(':'))
    if over < 0 or under < 0:
        raise ValueError(text)
    return Fraction(over, under) if over and under else None


def check_size(height: int, width: int, name: str) -> None:
    """Raises UserError if frames have no pixels or too many."""
    if min(height, width) < 1 or max(height, width) > _MOST_A_SIDE or height * width > _MOST_PIXELS:
        raise UserError('%s has frames of %dx%d (height x width); they must have 1 to %d pixels, %d a side at most'
                        % (name, height, width, _MOST_PIXELS, _MOST_A_SIDE))
