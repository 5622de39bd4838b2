"""The options of `edvr.infer`."""
import dataclasses
import re
from typing import Iterator, Optional, Tuple

from data_tools.base import paths
from data_tools.base.beam_config import BeamConfig
from data_tools.base.config import PIPE, option
from data_tools.base.errors import UserError
from data_tools.base.progress import AUTO, KINDS
from data_tools.media.config import DeinterlaceConfig, ShotConfig
from data_tools.media.frame_stream import PIXEL_FORMATS, RAW, Y4M
from data_tools.media.icc import KEEP, SRGB
from data_tools.media.video import TONEMAPS
from edvr.config import place
from edvr.config.codecs import CODECS, OPTIONS, options_of


@dataclasses.dataclass(frozen=True)
class InferConfig(BeamConfig, ShotConfig, DeinterlaceConfig):
    """Input and output of a restoration."""

    TITLE = 'inference'

    input: str = option(paths.SOURCES, 'what to restore: a video, a folder of images, a folder of clips or videos, a '
                        'data set (its LQ), a .txt file that lists such, or - for frames on standard input: Y4M (as of '
                        '"ffmpeg -i FILE -f yuv4mpegpipe -"), or raw with --raw_size. Such frames are one clip, which '
                        'is not searched for cuts', common=True, shown='input', path='input')
    output: str = option(paths.FRAMES, 'a folder for PNG frames (one subfolder per clip if there are several), or a '
                         'video: .mp4, .mov, .mkv or .webm, or - for frames on standard output (--pipe_format)',
                         common=True, shown='output', path='output', pipe=True)
    clips: str = option('auto', 'clips of the data set to restore: names separated by commas, REDS4 (000,011,015,020), '
                        'or @FILE.json; empty means all, auto those that the data set holds out (REDS4 in REDS), else '
                        'all', common=True)
    overwrite: bool = option(False, 'restore all frames again, instead of only the missing ones',
                             common=True)
    fps: float = option(0., 'frames per second of the written video; 0 keeps those of the input video, and uses 25 '
                        'for images', low=0., common=True)
    codec: str = option('auto', 'of the written video: auto (libvpx-vp9 for .webm, else libx264), %s. Those of '
                        'NVIDIA and Intel need their hardware, and all an ffmpeg that has them' % ', '.join(
                            '%s (%s)' % (name, codec.help) for name, codec in CODECS.items()),
                        choices=('auto',) + tuple(CODECS))
    crf: int = option(18, 'quality of the written video on the scale of its codec: 0 is best and largest, 18 hardly '
                      'distinguishable with libx264', low=0, high=63, common=True)
    ffmpeg_options: str = option('', 'further options of the encoder, such as "-preset slow -tune film"; only those '
                                 'that open no files: ' + ' '.join(OPTIONS))
    outscale: float = option(0., 'size of the output relative to the input, such as 2 with a network that enlarges 4 '
                             'times: restored frames are resampled; 0 keeps the size of the network', low=0., high=16.,
                             common=True)
    height: int = option(0, 'height of the output in pixels, such as 1080; the width keeps the proportions; 0 keeps '
                         'the size of the network', low=0, high=65536, common=True)
    resampler: str = option('lanczos', 'for --outscale and --height: lanczos (sharper) or bicubic, both without '
                            'aliasing', choices=('lanczos', 'bicubic'))
    start: str = option('', 'first frame to restore, of each clip: a number from 0 (250), or a time after the first '
                        'frame (90s, 1:30, 0:01:30.5). Frames before it are read where the window needs them',
                        common=True)
    end: str = option('', 'where to end, as --start; the frame at this place is not restored. Empty restores to the '
                      'last one', common=True)
    bits: int = option(8, 'bits per channel of the written video: 8, or 10 for smoother gradients (not every player '
                       'shows 10-bit H.264)', choices=(8, 10))
    tonemap: str = option('', 'restore HDR video (PQ, HLG) as SDR (BT.709), by this curve of ffmpeg: %s; empty refuses '
                          'HDR' % ', '.join(TONEMAPS), choices=('',) + TONEMAPS)
    icc: str = option(KEEP, 'images with an ICC profile: keep writes their values with the profile (PNG only), srgb '
                      'converts them to sRGB', choices=(KEEP, SRGB))
    preview: int = option(0, 'write this many comparison pictures (input enlarged | restored), and index.html, a '
                          'page to compare them with a slider, into the folder '
                          'OUTPUT_preview, print an estimate of time and size for the whole, and end; 0 restores all',
                          low=0, common=True)
    part: str = option('', 'i/n: restore only part i (1 to n) of the clips, for n runs on several machines that write '
                       'to the same --output')
    stretch: int = option(0, 'with --runner: restore long clips in ranges of this many frames, on several machines; '
                          '0 restores each clip on one', low=0)
    audio: bool = option(True, "copy the audio of the input video to the written video")
    allow_gaps: bool = option(False, 'accept gaps in the numbering of images (time jumps there)')
    allow_damaged: bool = option(False, 'restore the frames of a damaged or cut video that can be decoded')
    progress: str = option(AUTO, 'on standard error: bar, lines (one in 30 s), json (an object a line, for programs '
                           'that start this one; two a second), auto (bar on a terminal, else lines)',
                           choices=(AUTO,) + tuple(KINDS))
    raw_size: str = option('', 'with --input=-: WIDTHxHEIGHT of raw frames; without, standard input is Y4M')
    raw_format: str = option('rgb24', "pixel format of raw frames, in and out, by ffmpeg's name",
                             choices=tuple(PIXEL_FORMATS))
    pipe_format: str = option(Y4M, 'with --output=-: y4m (4:2:0 with --bits, size, rate and pixel aspect in its '
                              'header), or raw (--raw_format, without header). Colours are BT.709 from 720 lines or '
                              '1280 columns on, else BT.601, in limited range', choices=(Y4M, RAW))
    writers: int = option(2, 'threads that write PNG files', low=1)

    @property
    def pipe(self) -> str:
        """Returns the option that names a pipe, such as '--input=-'; '' if none does."""
        return '--input=-' if self.input == PIPE else '--output=-' if self.output == PIPE else ''

    @property
    def part_numbers(self) -> Optional[Tuple[int, int]]:
        """Returns (i, n) of --part; None if it is not given or wrong."""
        match = re.match(r'([0-9]{1,6})/([0-9]{1,6})$', self.part)
        i, n = (int(number) for number in match.groups()) if match else (0, 0)
        return (i, n) if 1 <= i <= n else None

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.input:
            yield '--input is not given; it must be a video file or a folder of frames or clips'
        if not self.output:
            yield '--output is not given; it must be a folder for PNG frames, or a video file to write'
        if self.part and not self.part_numbers:
            yield 'part is %r; it must be i/n with 1 <= i <= n, such as 2/8' % self.part
        if self.stretch and not self.runner:
            yield 'stretch is %d without --runner' % self.stretch
        if self.preview and self.runner:
            yield 'preview is %d, which runs on this machine; leave out --runner' % self.preview
        for name in ('runner', 'part', 'preview') if self.pipe else ():
            if getattr(self, name):
                yield '%s is %r with %s; frames of a pipe are restored once, in order' % (name, getattr(self, name),
                                                                                      self.pipe)
        if self.input == PIPE and (self.split_shots or self.shots):
            yield 'split_shots is set with --input=-; frames of a pipe are not searched for cuts'
        if self.raw_size and not (self.input == PIPE and re.match(r'[1-9][0-9]{0,5}x[1-9][0-9]{0,5}$', self.raw_size)):
            yield 'raw_size is %r; it must be WIDTHxHEIGHT, such as 1920x1080, with --input=-' % self.raw_size
        if self.pipe_format != Y4M and self.output != PIPE:
            yield 'pipe_format is %s without --output=-' % self.pipe_format
        worst = CODECS[self.codec].worst_crf if self.codec in CODECS else 63
        if worst and self.crf > worst:
            yield 'crf is %d; with %s it must be at most %d' % (self.crf, self.codec, worst)
        try:
            options_of(self.ffmpeg_options)
        except UserError as error:
            yield str(error)
        if self.outscale and self.height:
            yield 'outscale is %g and height is %d; give one of them' % (self.outscale, self.height)
        for name in ('start', 'end'):
            if getattr(self, name) and not place.parse(getattr(self, name)):
                yield '%s is %r; it must be a frame number, such as 250, or a time: 90s, 1:30, 0:01:30.5' % (
                    name, getattr(self, name))
