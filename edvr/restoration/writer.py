"""Restored frames on their way to disk: threads that write while the network computes, PNG files, video files.

Written videos are 8-bit 4:2:0, BT.709, limited range, and tagged so. They have a constant frame rate.
"""
import contextlib
import os
import queue
import subprocess
import tempfile
import threading
from fractions import Fraction

import numpy as np

from data_tools import files
from data_tools.cli import UserError
from data_tools.images import write_png
from edvr.restoration import ffmpeg
from edvr.restoration.metrics import to_uint8

# suffix -> (ffmpeg's muxer, codec, audio codecs it takes as they are or None for any, audio encoder for the others)
CONTAINERS = {'.mp4': ('mp4', 'libx264', ('aac', 'mp3', 'ac3', 'eac3', 'alac'), 'aac'),
              '.mov': ('mov', 'libx264', ('aac', 'mp3', 'ac3', 'eac3', 'alac'), 'aac'),
              '.mkv': ('matroska', 'libx264', None, 'aac'),
              '.webm': ('webm', 'libvpx-vp9', ('opus', 'vorbis'), 'libopus')}


class BackgroundWriter:
    """Calls a function in threads, for items that come in order, with a bounded queue.

    The first error of the function ends the work: the next `put`, or leaving the `with` block, raises it. Leaving the
    block waits until everything is written; with an exception, what is still waiting is dropped.
    """

    def __init__(self, write, threads=2, depth=4):
        """Args:
          write: function(*item), called in a thread; with one thread, in order.
          threads: int. depth: int, items that may wait.
        """
        self._write, self._queue, self._error, self._dropped = write, queue.Queue(depth), None, False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, *item):
        """Queues an item; waits while the queue is full."""
        if self._error:
            raise self._error
        self._queue.put(item)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._dropped = self._dropped or kind is not None
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if self._error and kind is None:
            raise self._error

    def _work(self):
        while True:
            item = self._queue.get()
            if item is None:
                return
            if self._dropped:   # go on emptying the queue, or `put` would wait forever
                continue
            try:
                self._write(*item)
            except BaseException as error:   # whatever it is, the thread that computes must hear of it
                self._error, self._dropped = self._error or error, True


class PngFolder:
    """A folder of restored frames that an interrupted run can go on filling.

    RECORD in it keeps what the frames were restored with, so that frames of two networks never mix.

    Attributes:
      first: int, index of the first frame that is missing; the number of frames if none is.
    """

    RECORD = '.restoration.json'

    def __init__(self, folder, names, settings, overwrite=False):
        """Args:
          folder: str, made if absent. names: file names of all frames, without suffix.
          settings: dict of JSON values: all that makes these frames what they are.
          overwrite: start anew, whatever is there.
        Raises:
          UserError: the folder cannot be written, or has frames by these names of other settings or of unknown origin.
        """
        self.folder, self._paths = folder, [os.path.join(folder, name + '.png') for name in names]
        files.make_dir(folder)
        files.remove_partials(folder)
        record = os.path.join(folder, self.RECORD)
        if overwrite:
            for path in self._paths:
                files.remove(path)
        else:
            self._check(record, settings)
        self.first = next((index for index, path in enumerate(self._paths) if not os.path.exists(path)), len(names))
        files.write_json(record, settings)

    def write(self, index, sr):
        """Writes frame number `index`, float [H, W, 3] in [0, 1]."""
        write_png(self._paths[index], to_uint8(sr))

    def _check(self, record, settings):
        present = [path for path in self._paths if os.path.exists(path)]
        if not present:
            return
        known = files.read_json(record) if os.path.exists(record) else None
        if known is None:
            raise UserError('%s is there already, and not from a restoration that could go on: give another --output, '
                            'or --overwrite to replace it' % present[0])
        changed = ['%s %s, now %s' % (key, known.get(key), settings[key]) for key in sorted(settings)
                   if known.get(key) != settings[key]]
        if changed:
            raise UserError('%s has frames restored differently (%s): give another --output, or --overwrite to replace '
                            'them' % (self.folder, '; '.join(changed)))


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
