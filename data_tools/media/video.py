"""Frames of a video file, and its properties.

Colours: a tagged video is converted with its own matrix and range; an untagged one with BT.709 from 720 lines or 1280
columns on, a smaller one with BT.601, both in limited range, as players do. Primaries and transfer curve are not
converted; HDR is refused, or made SDR on request. Rotated videos are read upright. Frames that change size within a
video are scaled to the first one's.
"""
import contextlib
import os
import re
import subprocess
import tempfile
import typing
from fractions import Fraction

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg, frame_checks, frame_times, packets, streams
from data_tools.media.deinterlacing import NONE as NO_DEINTERLACING
from data_tools.media.deinterlacing import Deinterlacing

SUFFIXES = sum(ffmpeg.DEMUXERS.values(), ())

Progress = typing.Optional[typing.Callable[[int], typing.Any]]
_HDR = {'smpte2084': 'PQ', 'arib-std-b67': 'HLG'}
CURVES = tuple(_HDR)
TONEMAPS = ('hable', 'mobius', 'reinhard')   # of ffmpeg's filter
MATRICES = ('bt709', 'bt601', 'bt2020')      # likewise
_TO_SDR = ('zscale=tin=%s:min=%s:pin=2020:rin=%s:t=linear:p=709:m=gbr:npl=100,format=gbrpf32le,'
           'tonemap=%s:desat=0,zscale=t=709:r=full,format=gbrp16le')   # by way of linear light; white is 100 nits
_ZSCALE_MATRIX = {'bt709': '709', 'bt601': '170m', 'bt2020': '2020_ncl', None: 'gbr'}
_FRAME = re.compile(r'n: *\d+ pts: .*?fmt:(\w+) .*?sar:(\d+)/(\d+) s:(\d+)x(\d+)')
_ALPHA = re.compile(r'yuva|gbrap|rgba|argb|bgra|abgr|ya(8|16)|pal8')   # formats of pixels
_ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}   # ffmpeg's own ones leave it out
_NO_INDEX = 'the index is missing or broken, as in a file that is cut or was never finished'
_MEANINGS = {'moov atom not found': _NO_INDEX, 'error reading header': _NO_INDEX,
             'not on whitelist': 'its format is none of those that are read',
             'matches no streams': 'it has no pictures'}   # {words of ffmpeg: their meaning}
_OTHER_CONTENT = (   # (first bytes, what the file is); ffmpeg would open the files and addresses that a list names
    (b'#EXTM3U', 'a playlist (HLS), which names other files'), (b'ffconcat', 'a list of other files (ffconcat)'),
    (b'\x89PNG', 'a PNG image'), (b'\xff\xd8\xff', 'a JPEG image'))
_COLOUR = re.compile(r'color_range:(\S+) color_space:(\S+) color_primaries:\S+ color_trc:(\S+)')


class VideoInfo(typing.NamedTuple):
    """The properties of a video file.

    Attributes:
      path: of the file.
      height: of the upright frames, pixels.
      width: likewise.
      num_frames: frames that decode.
      rate: frames per second, on average.
      constant_rate: whether the rate is constant.
      start: the time of the first frame in seconds.
      time_base: seconds of a unit of time.
      times: the time of each frame in units after the first; empty if the rate is constant.
      matrix: 'bt709', 'bt601', 'bt2020' or None for RGB.
      full_range: whether the values use the full range.
      pixel_format: ffmpeg's name.
      pixel_aspect: width of a pixel over its height.
      interlaced: number of the first frame that is flagged as interlaced, None without any; see frame_checks.Found.
      streams: (kind, codec) of all streams, see `streams.Stream`.
      chapters: their number.
      film: number of the stream that holds the frames.
      changes: whether the size or format of the frames changes, at which ffmpeg begins its filters anew.
      curve: transfer curve of HDR by ffmpeg's name, '' for SDR.
      tonemap: how HDR is made SDR, one of TONEMAPS; '' for SDR.
      container: ffmpeg's names of its format.
      last: seconds for which the last frame is shown; None if the file does not state it.
      own_times: whether times are those in the file, see `packets.read`.
      deinterlaced: how whole frames are made, None if it is not needed; the frames and times are those of them.
      cut: of a span, seconds between which it keeps other streams, None for no limit; None for a whole file.
      first: of a span, the number of its first frame in the file.
      missing: packets of the film that give no frame, without an error.
      missing_from: the time of the first of them in seconds.
    """
    path: str
    height: int
    width: int
    num_frames: int
    rate: Fraction
    constant_rate: bool
    start: float
    time_base: Fraction
    times: typing.Tuple[int, ...]
    matrix: typing.Optional[str]
    full_range: bool
    pixel_format: str
    pixel_aspect: Fraction
    interlaced: typing.Optional[int]
    streams: typing.Tuple[typing.Tuple[str, str], ...]
    chapters: int
    film: int
    changes: bool
    curve: str = ''
    tonemap: str = ''
    container: str = ''
    last: typing.Optional[Fraction] = None
    own_times: bool = True
    deinterlaced: typing.Optional[Deinterlacing] = None
    cut: typing.Optional[typing.Tuple[typing.Optional[Fraction], typing.Optional[Fraction]]] = None
    first: int = 0
    missing: int = 0
    missing_from: typing.Optional[Fraction] = None

    def span(self, first: int, end: int) -> 'VideoInfo':
        """Returns the properties of the frames `first` to `end` (not included), fewer than all."""
        def time(index: int) -> Fraction:
            after = self.times[index] * self.time_base if self.times else index / self.rate
            return Fraction(self.start).limit_denominator(10 ** 6) + after
        last = self.last if end == self.num_frames else time(end) - time(end - 1) if self.times else None
        return self._replace(num_frames=end - first, start=float(time(first)), last=last, first=first,
                             times=tuple(time - self.times[first] for time in self.times[first:end]),
                             cut=(time(first) if first else None, time(end) if end < self.num_frames else None))

    @property
    def deinterlacing_filters(self) -> str:
        """Returns ffmpeg's filters that make whole frames, '' without."""
        return self.deinterlaced.filters() if self.deinterlaced else ''

    @property
    def mp4(self) -> bool:
        """Returns whether the file is an MP4 or MOV."""
        return self.container.startswith('mov')

    @property
    def audio(self) -> typing.Tuple[str, ...]:
        """Returns the codec names of the audio streams."""
        return tuple(codec for kind, codec in self.streams if kind == 'audio')

    @property
    def bits(self) -> int:
        """Returns the bits a channel."""
        match = re.search(r'(?:p|gray|f)(9|1[0-6])(?:le|be)$|(48|64)(?:le|be)$', self.pixel_format)
        return (int(match.group(1)) if match.group(1) else 16) if match else 8


def inspect(path: str, progress: Progress = None, allow_damaged: bool = False, tonemap: str = '',
            deinterlacing: Deinterlacing = NO_DEINTERLACING) -> VideoInfo:
    """Decodes a video once without keeping its frames, to find its exact properties and any damage.

    Args:
      path: of the video.
      progress: None, or a function called with the number of frames decoded so far.
      allow_damaged: take the frames that decode.
      tonemap: one of TONEMAPS, which makes HDR SDR; '' refuses HDR.
      deinterlacing: of a video that has interlaced frames.
    Raises:
      UserError: not a video, damaged (naming how many frames decode), transparent in places, or HDR that is not or
        cannot be made SDR, or interlaced frames that change size and are to be deinterlaced.
    """
    if not os.path.isfile(path):
        raise UserError('%s: no such file' % path)
    first = _first_frame(path, tonemap)
    alpha = first.pop('alpha')
    time_base, times, errors, found = _scan(path, first['film'], alpha, True, deinterlacing, progress)
    own_times = not ffmpeg.has_clock(first['container']) or not frame_times.leaps(times, time_base)
    if not own_times:
        time_base, times, errors, found = _scan(path, first['film'], alpha, False, deinterlacing, progress)
    if errors and not allow_damaged:
        raise UserError('%s is damaged or cut: only %d frames decode: %s; repair it, or restore those frames with '
                        '--allow_damaged' % (path, len(times), errors[0]))
    if found.transparent is not None:
        raise UserError('%s is transparent in places%s, and frames have no alpha: flatten it onto a background '
                        'first, for example with the filter overlay of ffmpeg'
                        % (path, '' if found.changes else ', first in frame %d' % found.transparent))
    if found.interlaced is not None and found.changes and deinterlacing.method:
        raise UserError('%s has interlaced frames, and their size or pixel format changes, where deinterlacing by '
                        'ffmpeg loses frames: split it at the changes, and restore each part' % path)
    stated, unit = first.pop('stated_rate'), time_base
    shown = [None if time is None else time * unit for time in times]
    rate, constant = frame_times.frame_rate(times, unit, stated)
    info = VideoInfo(path=path, num_frames=len(times), rate=rate, constant_rate=constant, time_base=unit, times=(),
                     start=float((times[0] or 0) * unit), own_times=own_times,
                     interlaced=found.interlaced, changes=found.changes, **first)
    found_packets = _packets(info)
    last = _last_duration(info, found_packets, None if times[-1] is None else times[-1] * unit)
    if last:
        rate, constant = frame_times.frame_rate(times, unit, stated, last)
    if not constant:
        times, unit = frame_times.writable(times, unit)
    info = info._replace(rate=rate, constant_rate=constant, time_base=unit, last=last,
                         times=() if constant else tuple(time - times[0] for time in times))
    if found_packets and not errors:
        info = _with_missing(info, found_packets.tracks[0], shown)
    return info if found.interlaced is None else deinterlacing.applied(info, found.filtered)


def check(path: str, tonemap: str = '') -> None:
    """Raises UserError for a file that is no video, or HDR that is refused, as its first frame shows; see `inspect`."""
    _first_frame(path, tonemap)


def stated_frames(path: str) -> int:
    """Estimates the frames of a video from what its header states; 0 if it states nothing. For progress."""
    said = ffmpeg.probe(path).log
    duration = re.search(r'Duration: (\d+):(\d+):([\d.]+)', said)
    rate = re.search(r'Video: .*?([\d.]+) fps', said)
    if not (duration and rate):
        return 0
    hours, minutes, seconds = (float(number) for number in duration.groups())
    return int((3600 * hours + 60 * minutes + seconds) * float(rate.group(1)))


def decode(info: VideoInfo, start: int = 0, bits: int = 8) -> typing.Generator[np.ndarray, None, None]:
    """Decodes the frames of a video from number `start` on.

    Args:
      info: of the video.
      start: number of the first frame.
      bits: 8 or 16, of a channel.
    Yields:
      uint8 or uint16 [H, W, 3], RGB.
    Raises:
      UserError: fewer frames decode than `inspect` found.
    """
    dtype, pixel_format = (np.uint8, 'rgb24') if bits == 8 else (np.dtype('<u2'), 'rgb48le')
    size = info.height * info.width * 3 * bits // 8
    first = 0 if info.changes else start   # a filter that skips frames would skip them again after each change
    arguments = ffmpeg.command('-loglevel', 'error', *ffmpeg.source(info.path), '-map', '0:%d' % info.film,
                               '-vf', _decode_filters(info, first, pixel_format), *ffmpeg.each_frame(),
                               '-f', 'rawvideo', '-pix_fmt', pixel_format, 'pipe:1')
    with tempfile.TemporaryFile() as log, ffmpeg.decoding(arguments, subprocess.PIPE, stderr=log) as (process, done):
        assert process.stdout is not None
        for index in range(first, info.num_frames):
            done(index)
            data = process.stdout.read(size)
            if len(data) < size:
                process.wait()
                raise UserError('%s: decoding stopped after %d of %d frames: %s' % (
                    info.path, index, info.num_frames, ffmpeg.failure(process.returncode, ffmpeg.text(log))))
            if index >= start:
                yield np.frombuffer(data, dtype).reshape(info.height, info.width, 3)


def _first_frame(path, tonemap):
    """Reads the properties of the file and of its first frame: dict of fields of VideoInfo, and stated_rate."""
    code, said = _probe_frame(path, 'v:0')
    found = streams.parse(said)
    film = streams.film(found)
    if film is None and any(stream.kind == streams.COVER for stream in found):
        raise UserError('%s has a cover picture, and no video: give a video' % path)
    if film is not None and any(stream.kind in (streams.VIDEO, streams.COVER) for stream in found[:film]):
        code, said = _probe_frame(path, film)
    stated_format = re.search(r'Input #0, (.*), from ', said)
    container = stated_format.group(1) if stated_format else 'unknown format'
    frame = _FRAME.search(said)
    if not frame:
        content = _other_content(path)
        if content:
            raise UserError('%s is not a video: its content is %s. Read are the containers of %s'
                            % (path, content, ', '.join(SUFFIXES)))
        reason = _reason(_errors(said))
        if code < 0:
            reason = ffmpeg.failure(code)
        raise UserError('%s is not a video that can be decoded (%s)%s' % (path, container, reason and ': ' + reason))
    assert film is not None   # of the frame
    pixel_format, *numbers = frame.groups()
    sar_width, sar_height, width, height = (int(number) for number in numbers)
    colour = _COLOUR.search(said)
    colour_range, space, curve = colour.groups() if colour else ('unknown',) * 3
    if curve not in _HDR:
        curve = tonemap = ''
    elif not tonemap or not ffmpeg.has_filters('zscale', 'tonemap'):
        remedy = 'edvr.infer restores it as SDR with --tonemap=%s; or convert it to SDR (BT.709) first' % TONEMAPS[0]
        if not ffmpeg.has_filters('zscale', 'tonemap'):
            remedy = ('convert it to SDR (BT.709) first; --tonemap needs the filters zscale and tonemap, which this '
                      'ffmpeg lacks (IMAGEIO_FFMPEG_EXE names another one)')
        raise UserError('%s is HDR video (%s, %s), which 8-bit frames cannot hold: %s'
                        % (path, _HDR[curve], curve, remedy))
    stated = re.search(r'config in time_base: \S+ frame_rate: *(\d+)/(\d+)', said)
    rate = [int(number) for number in stated.groups()] if stated else (0, 0)
    return dict(height=height, width=width, matrix=matrix_of(pixel_format, space, height, width),
                full_range=colour_range == 'pc' or pixel_format.startswith('yuvj'), pixel_format=pixel_format,
                pixel_aspect=Fraction(sar_width, sar_height) if sar_width and sar_height else Fraction(1),
                streams=tuple((stream.kind, stream.codec) for stream in found), film=film,
                alpha=_alpha_decoder(path, found[film], pixel_format),
                chapters=len(re.findall(r'Chapter #0:\d+', streams.of_input(said))), curve=curve, tonemap=tonemap,
                container=container,
                stated_rate=Fraction(*rate) if all(rate) else None)


def _other_content(path):
    """Returns what a file is that is no video, '' if it cannot be said."""
    with open(path, 'rb') as file:
        data = file.read(4096)
    data = data[3:] if data.startswith(b'\xef\xbb\xbf') else data
    for start, meaning in _OTHER_CONTENT:
        if data.startswith(start):
            return meaning
    if b'<MPD' in data:
        return 'a manifest (DASH), which names other files'
    return 'text' if re.match(rb'[\t\n\r -~]+$', data) else ''


def _probe_frame(path, stream):
    """Returns ffmpeg's exit code and what it writes about the file and the first frame of a stream."""
    code, _, said = ffmpeg.probe(path, '-map', '0:%s' % stream, '-vf', 'showinfo', '-frames:v', '1', '-f', 'null', '-',
                                 before=('-loglevel', 'repeat+level+info'))
    return code, said


def _alpha_decoder(path, stream, pixel_format):
    """Returns the decoder that also decodes alpha, '' for the usual one; None for frames without alpha."""
    if not (stream.alpha and stream.codec in _ALPHA_DECODERS):
        return '' if _ALPHA.match(pixel_format) else None
    decoder = _ALPHA_DECODERS[stream.codec]
    if not ffmpeg.has_decoder(decoder):
        raise UserError('%s states transparency, and this ffmpeg lacks %s to see whether it is opaque: flatten it onto '
                        'a background first' % (path, decoder))
    return decoder


def _reason(errors):
    """Returns the meaning of ffmpeg's first error, '' if there is none; later ones only report that ffmpeg stopped."""
    for words, meaning in _MEANINGS.items():
        for error in errors:
            if words in error:
                return '%s (%s)' % (meaning, error.rstrip('.'))
    return errors[0] if errors else ''


def _scan(path, film, alpha, own_times, deinterlacing, progress):
    """Decodes everything.

    Args:
      film: number of the stream.
      alpha: None for frames without; else the name of the decoder that decodes it, '' for the usual one.
      own_times: see `VideoInfo`.
    Returns:
      Fraction, unit of times in seconds; list of the frames' times, None if unknown; errors; frame_checks.Found.
    """
    time_base, times = Fraction(1), []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = stack.enter_context(tempfile.TemporaryFile())
        before, after = ffmpeg.times(own_times)
        decoder = ['-c:%d' % film, alpha] if alpha else []
        arguments = ffmpeg.command(
            '-loglevel', 'repeat+level+error', *before, *decoder, *ffmpeg.source(path), '-map', '0:%d' % film,
            *ffmpeg.each_frame(), *ffmpeg.source_times(), '-f', 'framecrc', 'pipe:1',
            *frame_checks.outputs(folder, film, alpha is not None,
                                  deinterlacing.filters() if deinterlacing.counts_differ else ''), *after)
        process, done = stack.enter_context(ffmpeg.decoding(arguments, subprocess.PIPE, stderr=log))
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b'#tb 0:'):
                time_base = Fraction(line.split(b':')[1].strip().decode())
            elif not line.startswith(b'#'):
                time = line.split(b',')[2].strip()
                times.append(int(time) if time.lstrip(b'-').isdigit() else None)
                done(len(times))
                if progress:
                    progress(len(times))
        process.wait()
        errors = _errors(ffmpeg.text(log))
        found = frame_checks.read(folder)
    if process.returncode and not errors:
        errors = [ffmpeg.failure(process.returncode)]
    return time_base, times, errors, found


def _errors(said):
    """Returns the errors in a log with levels, without those about the times written, which are only read here."""
    lines = [line for line in said.splitlines() if ('[error]' in line or '[fatal]' in line) and 'to muxer' not in line]
    return [re.sub(r'\[[^\]]*\] *', '', line) for line in lines]


def _packets(info):
    """Returns the packets.Packets of the film, None if they cannot be read."""
    try:
        return packets.read(info.path, [info.film], info.own_times, mp4=info.mp4)
    except UserError:
        return None


def _with_missing(info, track, shown):
    """Returns the VideoInfo with what has no frame: a frame has one packet, but a field, and a hidden picture of VP8.

    Args:
      info: VideoInfo.
      track: packets.Track of the film.
      shown: times of the decoded frames in seconds, None for unknown.
    """
    if info.interlaced is not None or info.streams[info.film][1] == 'vp8':
        return info
    times = [time for time, _, size in track.shown() if size]
    count = len(times) + len(track.untimed) - len(shown)
    if count <= 0:
        return info
    there = {round(time / track.unit) for time in shown if time is not None}
    return info._replace(missing=count, missing_from=next(
        (time for time in times if round(time / track.unit) not in there), None))


def _last_duration(info, found, last_time):
    """Returns for how many seconds the last frame, shown at `last_time`, is shown; None if the file does not state it.

    MP4 and GIF have a duration for each frame. Matroska has the end of each track, as a tag.
    """
    matroska = info.container.startswith('matroska')
    if last_time is None or found is None or not (matroska or info.mp4 or info.container == 'gif'):
        return None
    track, frame = found.tracks[0], 1 / info.rate
    if not track.times or abs(max(track.times) * track.unit - last_time) > track.unit:   # the last one does not decode
        return None
    if matroska:
        last = found.ends.get(info.film, Fraction(0)) - last_time
        return last if last > Fraction(3, 2) * frame else None
    last = found.last_duration
    return last if last and last > frame / 2 else None


def matrix_of(pixel_format: str, space: str, height: int, width: int) -> typing.Optional[str]:
    """Returns the matrix of frames, see VideoInfo: that of the tag `space`, of untagged frames by their size."""
    if pixel_format.startswith(('rgb', 'bgr', 'gbr', 'argb', 'abgr', '0rgb', '0bgr', 'pal8')) or space == 'gbr':
        return None
    known = {'bt709': 'bt709', 'smpte170m': 'bt601', 'bt470bg': 'bt601', 'fcc': 'bt601', 'bt2020nc': 'bt2020',
             'bt2020c': 'bt2020'}
    return known.get(space) or ('bt709' if height >= 720 or width >= 1280 else 'bt601')


def _decode_filters(info, start, pixel_format):
    # fields are interpolated in time too, so frames before `start` have a part in it
    filters = [info.deinterlacing_filters] if info.deinterlaced else []
    filters += ['trim=start_frame=%d' % start] if start else []
    matrix = info.matrix
    if info.tonemap:
        filters.append(_TO_SDR % (_known(info.curve, CURVES), _ZSCALE_MATRIX[matrix],
                                  'full' if info.full_range else 'limited', _known(info.tonemap, TONEMAPS)))
        matrix = None
    return ','.join(filters + [rgb_filters(matrix, info.full_range, pixel_format)])


def _known(value, known):
    """Returns a value that becomes a part of a filter. Raises ValueError for any other: a filter can write files."""
    if value not in known:
        raise ValueError('%r is no part of a filter; it must be one of %s' % (value, ', '.join(map(str, known))))
    return value


def rgb_filters(matrix: typing.Optional[str], full_range: bool, pixel_format: str) -> str:
    """Returns the filters that convert frames to RGB.

    Args:
      matrix, full_range: of the frames, as in VideoInfo.
      pixel_format: ffmpeg's name of the RGB format.
    """
    scale = 'scale=out_range=pc:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp'
    if matrix:
        scale += ':in_color_matrix=%s:in_range=%s' % (_known(matrix, MATRICES), 'pc' if full_range else 'tv')
    return scale + ',format=' + pixel_format
