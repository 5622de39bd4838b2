"""The ffmpeg program: where it is, how it is called, what it said. imageio-ffmpeg brings one; IMAGEIO_FFMPEG_EXE names
another."""
import contextlib
import os
import re
import subprocess

import imageio_ffmpeg

from data_tools.base.errors import UserError


def command(*arguments, read_stdin=False):
    """The command line, list of str."""
    return [imageio_ffmpeg.get_ffmpeg_exe(), '-hide_banner'] + ([] if read_stdin else ['-nostdin']) + list(arguments)


def each_frame():
    """The options that hand over every decoded frame once; the name changed in ffmpeg 5.1 and the old one is gone."""
    return ('-vsync' if _version() < (5, 1) else '-fps_mode', 'passthrough')


def source_times():
    """The options that keep the time of each frame as the file has it; the value changed in ffmpeg 6.1."""
    return ('-enc_time_base', '-1' if _version() < (6, 1) else 'demux')


def no_times_below_zero():
    """Options for Matroska with audio: old versions notice that the audio starts before zero, as AAC does, only after
    the first frames are written, and shift just the later ones. So everything is shifted."""
    return ('-output_ts_offset', '0.2') if _version() < (5, 1) else ()


def _version():
    """(major, minor); a build without a number, made from the development tree, counts as new."""
    match = re.search(r'(\d+)\.(\d+)', imageio_ffmpeg.get_ffmpeg_version())
    return tuple(int(number) for number in match.groups()) if match else (99, 0)


def file_name(path):
    """A name that ffmpeg cannot take for an option or a protocol."""
    return 'file:' + os.path.abspath(path)


def start(arguments, **streams):
    """Starts ffmpeg in a process group of its own: Ctrl-C is this program's to handle; ffmpeg ends when its pipe does.

    Raises:
      UserError: it cannot be started.
    """
    try:
        return subprocess.Popen(arguments, start_new_session=True, **streams)
    except OSError as error:
        raise UserError('ffmpeg cannot be started (%s): %s' % (arguments[0], error.strerror)) from None


def end(process):
    """Ends a process, however far it is."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
    if process.poll() is None:
        process.kill()
    process.wait()


def last_line(log):
    """': ' and the last thing said in a log (binary file), or ''."""
    log.seek(0)
    lines = [line.strip() for line in log.read().decode('utf-8', 'replace').splitlines() if line.strip()]
    return ': ' + lines[-1] if lines else ''
