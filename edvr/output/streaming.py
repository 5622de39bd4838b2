"""Restores frames that come from a pipe, or go to one: in order, by this process."""
import contextlib
import itertools
import math
import os
import re
import typing
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.config import PIPE
from data_tools.base.errors import UserError
from data_tools.media import frame_stream
from data_tools.media.frame_stream import Y4M, FrameStream
from data_tools.media.images import write_png
from data_tools.media.read_ahead import read_ahead
from edvr.config import place
from edvr.config.codecs import options_of
from edvr.config.infer import InferConfig
from edvr.output import output_lock, progress, segments
from edvr.output.background_writer import BackgroundWriter
from edvr.output.clip_source import Source, restored_frames
from edvr.output.pipe_writer import PipeWriter
from edvr.output.png_folder import PngFolder
from edvr.output.timing import wanted_rate
from edvr.output.video_writer import VideoWriter
from edvr.restore.pixels import quantize
from edvr.restore.resize import wanted
from edvr.restore.restorer import Restorer

_STDIN, _STDOUT = 0, 1
_NAME = '--input=-'
_FRAME = re.compile(r'[0-9]{8}\.png$')   # that came from a pipe

Put = typing.Callable[[int, np.ndarray], None]


def open_input(config: InferConfig) -> FrameStream:
    """Returns the frames on standard input, after reading their header.

    Raises:
      UserError: it is a terminal, or has neither Y4M nor a given size; interlaced frames without --deinterlace.
    """
    if os.isatty(_STDIN):
        raise UserError('%s: standard input is a terminal; pipe frames into it, such as those of '
                        '"ffmpeg -i FILE -f yuv4mpegpipe -"' % _NAME)
    file = open(_STDIN, 'rb', closefd=False)   # noqa: SIM115 open until the process ends
    if config.raw_size:
        width, height = (int(side) for side in config.raw_size.split('x'))
        frame_stream.check_size(height, width, _NAME)
        return frame_stream.open_raw(file, _NAME, (height, width), config.raw_format)
    stream = frame_stream.open_y4m(file, _NAME)
    if stream.fields and not config.deinterlace:
        raise UserError('%s is interlaced: each frame combines fields of two moments; restore it with --deinterlace'
                        % _NAME)
    return stream._replace(rate=config.deinterlacing.rate_of(stream.rate)) if stream.fields and stream.rate else stream


def check_output(config: InferConfig, to_video: bool) -> None:
    """Raises UserError if the output of a pipe cannot be used: frames of a pipe cannot be completed by a later run."""
    if config.output == PIPE:
        if os.isatty(_STDOUT):
            raise UserError('--output=-: standard output is a terminal; pipe it into a program, such as '
                            '"ffmpeg -i - FILE"')
    elif config.input == PIPE and not config.overwrite:
        if os.path.exists(config.output) if to_video else _has_frames(config.output):
            raise UserError('%s exists: give another --output, or --overwrite to replace it'
                            % (config.output if to_video else 'a frame in ' + config.output))
        if to_video and segments.has_any(config.output):
            raise UserError('%s has segments of a restoration to %s that was interrupted: give another --output, or '
                            '--overwrite to remove them' % (segments.folder_of(config.output), config.output))


def _has_frames(folder):
    """Returns whether a folder has frames of a pipe, or of a restoration that could continue."""
    names = files.listing(folder)
    return any(_FRAME.match(name) or (PngFolder.RECORD in names and name.endswith('.png')) for name in names)


def restore(restorer: Restorer, config: InferConfig, source: typing.Union[FrameStream, Source], to_video: bool,
            even: bool = False) -> int:
    """Restores all frames of a source to the output of a configuration.

    Args:
      restorer: of the network.
      config: input and output, one of which is a pipe.
      source: the frames.
      to_video: whether the output is a video file.
      even: whether the sides of resized frames of a stream are even.
    Returns:
      how many frames were restored.
    Raises:
      UserError: a stream that ends early or is no longer read; output that cannot be written.
    """
    count = 0
    total = source.length if isinstance(source, Source) else None
    with progress.bar(total, 'restoring', config.progress) as bar, \
            contextlib.closing(_restored(restorer, config, source, even)) as frames, \
            _sink(config, source, to_video) as put, \
            BackgroundWriter(put, threads=1) as writer:
        for index, sr in enumerate(frames):
            writer.put(index, sr)
            bar.update()
            count += 1
        if not count:
            raise UserError('%s has no frames%s' % (_NAME, config.start and ' from --start=%s on: it ends before'
                                                    % config.start))
    return count


def _restored(restorer: Restorer, config: InferConfig, source: typing.Union[FrameStream, Source],
              even: bool) -> typing.Generator[np.ndarray, None, None]:
    if isinstance(source, Source):
        yield from itertools.islice(restored_frames(restorer, source), source.length)
        return
    deep = restorer.reads_uint16 and source.pixel_format.bits > 8
    read = source.frames(16 if deep else 8, config.deinterlacing.filters(False) if source.fields else '')
    first, end = span_of(config, source)
    resize = wanted((source.height, source.width), config.outscale, config.height, config.resampler, even)
    with contextlib.closing(read_ahead(read)) as frames:
        restored = restorer.restore_clip(frames, start=first)
        for sr in itertools.islice(restored, None if end is None else end - first):
            yield resize.apply(sr) if resize else sr


def span_of(config: InferConfig, stream: FrameStream) -> typing.Tuple[int, typing.Optional[int]]:
    """Returns the first frame of a stream to restore, and the one behind the last; None restores to its end.

    Times are those of the input: --fps decides only for a stream that states no rate.

    Raises:
      UserError: --end is not behind --start.
    """
    rate = stream.rate or wanted_rate(config.fps)
    first, end = (_number(place.parse(text), rate) for text in (config.start, config.end))
    if end is not None and end <= (first or 0):
        raise UserError('%s: --start=%s --end=%s has no frames; --start must come before --end'
                        % (_NAME, config.start, config.end))
    return first or 0, end


def _number(where: typing.Optional[place.Place], rate: Fraction) -> typing.Optional[int]:
    if where is None or where.seconds is None:
        return where and where.frame
    return math.ceil(where.seconds * rate)


@contextlib.contextmanager
def _sink(config: InferConfig, source: typing.Union[FrameStream, Source], to_video: bool) -> typing.Iterator[Put]:
    """Opens the output for a `with` block; yields a function (index, restored frame)."""
    if config.output == PIPE:
        with _pipe(config, source) as pipe:
            yield lambda index, sr: pipe.write(quantize(sr, pipe.dtype))
    elif to_video:
        assert isinstance(source, FrameStream)
        files.make_dir(os.path.dirname(os.path.abspath(config.output)))
        rate = wanted_rate(config.fps, source.rate)
        with output_lock.of_video(config.output), \
                VideoWriter(config.output, rate, config.crf, config.codec, bits=config.bits, resumable=False,
                            pixel_aspect=source.pixel_aspect, options=options_of(config.ffmpeg_options)) as encoder:
            yield lambda index, sr: encoder.write(quantize(sr, np.uint16 if config.bits == 10 else np.uint8))
    else:
        with output_lock.of_folder(config.output):
            files.remove_partials(config.output)
            for name in files.listing(config.output):
                if _FRAME.match(name):   # of an earlier stream, which may be longer
                    files.remove(os.path.join(config.output, name))
            files.remove(os.path.join(config.output, PngFolder.RECORD))   # of frames that are replaced
            yield lambda index, sr: write_png(os.path.join(config.output, '%08d.png' % index), quantize(sr, np.uint8))


def _pipe(config: InferConfig, source: typing.Union[FrameStream, Source]) -> PipeWriter:
    if isinstance(source, FrameStream):
        rate, aspect, constant = source.rate, source.pixel_aspect, True
    elif source.video:
        rate, aspect, constant = source.video.rate, source.video.pixel_aspect, source.video.constant_rate
    else:
        rate, aspect, constant = None, Fraction(1), True
    if not constant:
        print('note: the frame times of %s vary; a pipe has none, so its frames come at the average rate, %s a second'
              % (config.input, rate))
    pixels = config.raw_format
    if config.pipe_format == Y4M:
        pixels = 'yuv420p10le' if config.bits == 10 else 'yuv420p'
    return PipeWriter(_STDOUT, wanted_rate(config.fps, rate), config.pipe_format, pixels, aspect)
