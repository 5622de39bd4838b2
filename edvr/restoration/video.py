"""Frames of a video file, and what is known of it.

Colours: a tagged video is converted with its own matrix and range; an untagged one with BT.709 from 720 lines or 1280
columns on, below with BT.601, both in limited range, as players do. Primaries and transfer curve are not converted; HDR
is refused. Rotated videos are read upright.
"""
import collections
import os
import re
import subprocess
import tempfile
from fractions import Fraction

import numpy as np

from data_tools.cli import UserError
from edvr.restoration import ffmpeg

SUFFIXES = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.mpg', '.mpeg', '.ts', '.m2ts', '.wmv', '.flv', '.gif',
            '.y4m')

_STANDARD_RATES = [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)] + [
    Fraction(n) for n in (1, 2, 5, 6, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)]
_HDR = ('smpte2084', 'arib-std-b67')
_FRAME = re.compile(r'n: *\d+ pts: *(-?\d+|NOPTS) .*?fmt:(\w+) .*?sar:(\d+)/(\d+) s:(\d+)x(\d+)')
_COLOUR = re.compile(r'color_range:(\S+) color_space:(\S+) color_primaries:\S+ color_trc:(\S+)')


class VideoInfo(collections.namedtuple(
        'VideoInfo', 'path height width num_frames rate constant_rate start matrix full_range pixel_format '
                     'pixel_aspect audio')):
    """What a video file holds.

    path: str. height, width: int, pixels, upright. num_frames: int, frames that decode.
    rate: Fraction, frames per second, on average. constant_rate: bool. start: float, seconds before the first frame.
    matrix: 'bt709', 'bt601', 'bt2020' or None for RGB. full_range: bool. pixel_format: ffmpeg's name, str.
    pixel_aspect: Fraction, width of a pixel over its height. audio: tuple of codec names, one per audio stream.
    """

    @property
    def bits(self):
        """Bits a channel, int."""
        match = re.search(r'(?:p|gray|f)(9|1[0-6])(?:le|be)$|(48|64)(?:le|be)$', self.pixel_format)
        return (int(match.group(1)) if match.group(1) else 16) if match else 8


def inspect(path, progress=None, allow_damaged=False):
    """Decodes a video once without keeping anything: its facts are then known exactly, and any damage too.

    Args:
      path: str.
      progress: None, or a function called with the number of frames decoded so far.
      allow_damaged: take the frames that decode.
    Returns:
      VideoInfo.
    Raises:
      UserError: not a video, damaged (naming how many frames decode), HDR, or frames of several sizes.
    """
    if not os.path.isfile(path):
        raise UserError('%s: no such file' % path)
    scan = _Scan(path, progress)
    arguments = ffmpeg.command('-loglevel', 'repeat+level+info', '-i', ffmpeg.file_name(path), '-map', '0:v:0',
                               '-vf', 'showinfo', *ffmpeg.each_frame(), '-f', 'null', '-')
    process = ffmpeg.start(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for line in process.stderr:
            scan.read(line.decode('utf-8', 'replace').rstrip())
        process.wait()
    finally:
        ffmpeg.end(process)
    scan.check(process.returncode, allow_damaged)
    return scan.result()


def decode(info, start=0):
    """The frames of a video from number `start` on.

    Args:
      info: VideoInfo. start: int.
    Yields:
      uint8 [H, W, 3], RGB.
    Raises:
      UserError: fewer frames decode than `inspect` found.
    """
    size = info.height * info.width * 3
    arguments = ffmpeg.command('-loglevel', 'error', '-i', ffmpeg.file_name(info.path), '-map', '0:v:0',
                               '-vf', _decode_filters(info, start), *ffmpeg.each_frame(),
                               '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1')
    with tempfile.TemporaryFile() as log:
        process = ffmpeg.start(arguments, stdout=subprocess.PIPE, stderr=log)
        try:
            for index in range(start, info.num_frames):
                data = process.stdout.read(size)
                if len(data) < size:
                    process.wait()
                    raise UserError('%s: decoding stopped after %d of %d frames%s'
                                    % (info.path, index, info.num_frames, ffmpeg.last_line(log)))
                yield np.frombuffer(data, np.uint8).reshape(info.height, info.width, 3)
        finally:
            ffmpeg.end(process)


class _Scan:
    """Reads ffmpeg's report of one pass over a video, line by line."""

    def __init__(self, path, progress):
        self.path, self._progress = path, progress
        self._errors, self._times, self._sizes, self._audio = [], [], collections.Counter(), []
        self._container = self._time_base = self._colour = self._frame = None

    def read(self, line):
        if ' pts:' in line:
            self._read_frame(line)
        elif self._colour is None and _COLOUR.search(line):
            self._colour = _COLOUR.search(line).groups()
        elif 'config in time_base:' in line:
            self._time_base = Fraction(re.search(r'time_base: *(\d+/\d+)', line).group(1))
        elif self._container is None and 'Input #0, ' in line:
            self._container = re.search(r'Input #0, (.*), from ', line).group(1)
        elif not self._times and re.search(r'Stream #0:\d+.*: Audio: ', line):
            self._audio.append(re.search(r': Audio: (\w+)', line).group(1))
        elif '[error]' in line or '[fatal]' in line:
            self._errors.append(re.sub(r'\[[^\]]*\] *', '', line))

    def _read_frame(self, line):
        match = _FRAME.search(line)
        if not match:
            raise UserError('%s: cannot read what ffmpeg says of it: %s' % (self.path, line))
        time, pixel_format, sar_width, sar_height, width, height = match.groups()
        self._times.append(None if time == 'NOPTS' else int(time))
        self._sizes[int(height), int(width)] += 1
        self._frame = self._frame or (pixel_format, int(sar_width), int(sar_height))
        if self._progress:
            self._progress(len(self._times))

    def check(self, code, allow_damaged):
        """Raises UserError for what is no video, or not a sound one."""
        said = ': ' + self._errors[0] if self._errors else ''
        if code and not said:
            said = ': ffmpeg ended with code %d' % code
        if code < 0:
            said += '; it crashed: IMAGEIO_FFMPEG_EXE names another ffmpeg to use'
        # ffmpeg takes a text file for terminal art and a picture for a video of one frame
        container = self._container or 'unknown format'
        if not self._times or container in ('tty', 'image2') or container.endswith('_pipe'):
            raise UserError('%s is not a video that can be decoded (%s)%s' % (self.path, container, said))
        if said and not allow_damaged:
            raise UserError('%s is damaged or cut: only %d frames decode%s; repair it, or restore those frames with '
                            '--allow_damaged' % (self.path, len(self._times), said))
        if len(self._sizes) > 1:
            raise UserError('%s has frames of several sizes (%s, height x width); split it there'
                            % (self.path, ', '.join('%dx%d' % size for size in self._sizes)))
        if self._colour and self._colour[2] in _HDR:
            raise UserError('%s is HDR video (%s), which 8-bit frames cannot hold: convert it to SDR (BT.709) first'
                            % (self.path, self._colour[2]))

    def result(self):
        """VideoInfo."""
        (height, width), (pixel_format, *sar) = next(iter(self._sizes)), self._frame
        colour_range, space, _ = self._colour or ('unknown',) * 3
        rate, constant = frame_rate(self._times, self._time_base)
        return VideoInfo(
            path=self.path, height=height, width=width, num_frames=len(self._times), rate=rate, constant_rate=constant,
            start=float((self._times[0] or 0) * self._time_base), matrix=_matrix(pixel_format, space, height, width),
            full_range=colour_range == 'pc' or pixel_format.startswith('yuvj'), pixel_format=pixel_format,
            pixel_aspect=Fraction(*sar) if all(sar) else Fraction(1), audio=tuple(self._audio))


def frame_rate(times, time_base):
    """Average rate of frames, and whether it is constant.

    Args:
      times: list of int, time of each frame in units of `time_base` (Fraction, seconds); None where unknown.
    Returns:
      (Fraction, frames per second; bool). Rates that differ from a usual one by no more than the rounding of the
      times are taken for it; a single frame, or frames without times, get 25.
    """
    if len(times) < 2 or None in times or times[-1] <= times[0]:
        return Fraction(25), True
    span, count = times[-1] - times[0], len(times) - 1
    constant = all(abs(time - times[0] - Fraction(span * i, count)) <= Fraction(3, 2) for i, time in enumerate(times))
    rate = count / (span * time_base)
    for usual in _STANDARD_RATES:
        if constant and abs(count / usual / time_base - span) <= 1:
            return usual, constant
    return rate.limit_denominator(100000), constant


def _matrix(pixel_format, space, height, width):
    if pixel_format.startswith(('rgb', 'bgr', 'gbr', 'argb', 'abgr', '0rgb', '0bgr', 'pal8')) or space == 'gbr':
        return None
    known = {'bt709': 'bt709', 'smpte170m': 'bt601', 'bt470bg': 'bt601', 'fcc': 'bt601', 'bt2020nc': 'bt2020',
             'bt2020c': 'bt2020'}
    return known.get(space) or ('bt709' if height >= 720 or width >= 1280 else 'bt601')


def _decode_filters(info, start):
    filters = ['trim=start_frame=%d' % start] if start else []
    scale = 'scale=out_range=pc:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp'
    if info.matrix:
        scale += ':in_color_matrix=%s:in_range=%s' % (info.matrix, 'pc' if info.full_range else 'tv')
    return ','.join(filters + [scale, 'format=rgb24'])
