"""Restored frames on their way to disk: threads that write while the network computes, PNG files, video files.

Written videos are 8-bit 4:2:0, BT.709, limited range, and tagged so. They have a constant frame rate.
"""
import contextlib
import os
import subprocess
import tempfile
from fractions import Fraction

import numpy as np

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import ffmpeg

# suffix -> (ffmpeg's muxer, codec, audio codecs it takes as they are or None for any, audio encoder for the others)
CONTAINERS = {'.mp4': ('mp4', 'libx264', ('aac', 'mp3', 'ac3', 'eac3', 'alac'), 'aac'),
              '.mov': ('mov', 'libx264', ('aac', 'mp3', 'ac3', 'eac3', 'alac'), 'aac'),
              '.mkv': ('matroska', 'libx264', None, 'aac'),
              '.webm': ('webm', 'libvpx-vp9', ('opus', 'vorbis'), 'libopus')}


class VideoWriter:
    """Encodes frames into a video file that gets its name when it is whole.

    Use as a context manager: leaving it without an exception finishes the file, with one removes what was written.
    """

    def __init__(self, path, rate, crf=18, codec='auto', source=None, audio=True):
        """Nothing is started before the first frame.

        Args:
          path: str; its suffix, one of CONTAINERS, tells the container.
          rate: Fraction, frames per second.
          crf: int, quality: 0 best; scale of the codec.
          codec: one of CODECS, or 'auto' for the container's usual one.
          source: VideoInfo whose pixel aspect, and audio if `audio`, are taken over; or None.
        Raises:
          UserError: another suffix; a codec that the container does not take.
        """
        self.path, self._rate, self._crf, self._source = str(path), Fraction(rate), crf, source
        self._streams = source.audio if source and audio else ()
        suffix = os.path.splitext(self.path)[1].lower()
        if suffix not in CONTAINERS:
            raise UserError('%s: videos are written as %s' % (path, ' '.join(sorted(CONTAINERS))))
        self._muxer, usual, self._audio, self._audio_encoder = CONTAINERS[suffix]
        self._codec = usual if codec == 'auto' else codec
        if suffix == '.webm' and self._codec != 'libvpx-vp9':
            raise UserError('%s: webm takes --codec=libvpx-vp9, not %s; write .mp4 or .mkv' % (path, codec))
        self._stack, self._process, self._shape = contextlib.ExitStack(), None, None

    @property
    def copies_audio(self):
        """Whether the source's audio goes in unchanged; None where there is none."""
        if not self._streams:
            return None
        return all(self._audio is None or codec in self._audio for codec in self._streams)

    def write(self, frame):
        """Adds one frame, uint8 [H, W, 3]; an odd height or width, impossible in 4:2:0, grows by a repeated line."""
        if self._process is None:
            self._open(frame.shape)
        if frame.shape != self._shape:
            raise ValueError('a frame of shape %s after frames of %s' % (frame.shape, self._shape))
        height, width, _ = frame.shape
        if height % 2 or width % 2:
            frame = np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], 'edge')
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except OSError:   # ffmpeg is gone: what it said tells why
            self._process.wait()
            raise UserError(self._failure()) from None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return self._stack.__exit__(kind, error, trace)

    def _open(self, shape):
        self._shape = shape
        self._log = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        partial = self._stack.enter_context(files.atomic_path(self.path))
        self._process = ffmpeg.start(self._command(partial), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                     stderr=self._log)
        self._stack.push(self._stop)   # ends before the file gets its name, which it does not if this raises

    def _stop(self, kind, error, trace):
        try:
            if kind is None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
                if self._process.wait():
                    raise UserError(self._failure())
        finally:
            ffmpeg.end(self._process)

    def _command(self, partial):
        height, width = (size + size % 2 for size in self._shape[:2])
        source = self._source
        filters = ('scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp,format=yuv420p,'
                   'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709')
        if source and source.pixel_aspect != 1:
            filters += ',setsar=%d/%d' % (source.pixel_aspect.numerator, source.pixel_aspect.denominator)
        arguments = ['-loglevel', 'error', '-y']
        if source and source.start > 0:
            arguments += ['-itsoffset', '%.6f' % source.start]
        arguments += ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', '%dx%d' % (width, height),
                      '-framerate', str(self._rate), '-i', 'pipe:0']
        if self._streams:
            arguments += ['-i', ffmpeg.file_name(source.path), '-map', '0:v:0', '-map', '1:a',
                          '-c:a', 'copy' if self.copies_audio else self._audio_encoder]
            arguments += ffmpeg.no_times_below_zero() if self._muxer == 'matroska' else ()
        arguments += ['-vf', filters, '-c:v', self._codec, '-crf', str(self._crf), '-colorspace', 'bt709',
                      '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv']
        if self._codec == 'libvpx-vp9':
            arguments += ['-b:v', '0', '-row-mt', '1']   # without it crf is only an upper limit
        if self._muxer in ('mp4', 'mov'):
            arguments += ['-movflags', '+faststart'] + (['-tag:v', 'hvc1'] if self._codec == 'libx265' else [])
        return ffmpeg.command(*arguments, '-f', self._muxer, ffmpeg.file_name(partial), read_stdin=True)

    def _failure(self):
        return 'cannot write %s: ffmpeg ended with code %d%s' % (self.path, self._process.returncode,
                                                                 ffmpeg.last_line(self._log))
