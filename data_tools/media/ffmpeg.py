"""Calls the ffmpeg program, with limits, and reports its errors. See `ffmpeg_choice` for which one."""
import contextlib
import functools
import math
import os
import re
import resource
import signal
import subprocess
import tempfile
import typing

from data_tools.base.errors import UserError
from data_tools.media import ffmpeg_choice

PROBE_SECONDS = 120.      # for reading the begin of a file, of the clock and of the processor
_DECODER_SECONDS = 600.    # of the processor, for a file of which no frame has been read
_FRAME_SECONDS = 10.       # of the processor, for each frame that was read
_LONGEST_SECONDS = 86400.  # of the processor, for work whose progress is not known
# threads reserve memory that they do not use
_ADDRESS_SPACE = 16 * 2 ** 30 + 128 * 2 ** 20 * (os.cpu_count() or 1)


def command(*arguments: str, read_stdin: bool = False) -> typing.List[str]:
    """Returns the command line of ffmpeg with options; without `read_stdin` it does not read its standard input."""
    return [ffmpeg_choice.executable(), '-hide_banner'] + ([] if read_stdin else ['-nostdin']) + list(arguments)


def each_frame() -> typing.Tuple[str, ...]:
    """Returns the options that output every decoded frame once; ffmpeg 5.1 renamed them and removed the old name."""
    return ('-vsync' if _version() < (5, 1) else '-fps_mode', 'passthrough')


def source_times() -> typing.Tuple[str, ...]:
    """Returns the options that keep the time of each frame as the file has it; the value changed in ffmpeg 6.1."""
    return ('-enc_time_base', '-1' if _version() < (6, 1) else 'demux')


def misreads_durations() -> bool:
    """Returns whether the duration of the last frame of an MP4 that starts later than zero is read as another one."""
    return _version() < (5, 1)


def reproducible() -> typing.Tuple[str, ...]:
    """Returns the options that leave times, versions and random numbers out of a written file."""
    return '-fflags', '+bitexact', '-flags:v', '+bitexact', '-flags:a', '+bitexact'


def _version():
    return ffmpeg_choice.number(version())


def version() -> str:
    """Returns the version of the ffmpeg in use; another one may decode or encode other pixels."""
    return ffmpeg_choice.version_of(ffmpeg_choice.executable())


def encoders() -> typing.FrozenSet[str]:
    """Returns the names of the encoders of the ffmpeg in use."""
    return _listed(ffmpeg_choice.executable(), '-encoders', r'^ [VAS][A-Z.]{5} (\S+)')


def has_decoder(name: str) -> bool:
    """Returns whether the ffmpeg in use has a decoder."""
    return name in _listed(ffmpeg_choice.executable(), '-decoders', r'^ [VAS][A-Z.]{5} (\S+)')


def has_filters(*names: str) -> bool:
    """Returns whether the ffmpeg in use has all of these filters."""
    return _listed(ffmpeg_choice.executable(), '-filters', r'^ [A-Z.]{2,3} +(\S+)').issuperset(names)


@functools.lru_cache(maxsize=None)
def _listed(executable, option, pattern):
    return frozenset(re.findall(pattern, output(option).data.decode('utf-8', 'replace'), re.M))


def _environment() -> typing.Optional[typing.Dict[str, str]]:
    """Returns the environment of ffmpeg, None for that of this process.

    Old static builds load character sets of the host's C library when they read the service name of an MPEG-TS, and
    crash if that library is newer. Without them the name stays as it is in the file.
    """
    return dict(os.environ, GCONV_PATH='/nonexistent') if _version() < (5, 0) else None


def file_name(path: str) -> str:
    """Returns a name of a file that ffmpeg does not read as an option or a protocol."""
    return 'file:' + os.path.abspath(path)


# The containers that are read, by ffmpeg's names of their demuxers, and their usual suffixes. Formats that name other
# files or addresses (playlists, manifests, lists of files) are not among them.
DEMUXERS = {
    'mov': ('.mp4', '.m4v', '.mov', '.qt', '.3gp', '.3gpp', '.3g2', '.f4v'), 'matroska': ('.mkv', '.mk3d', '.webm'),
    'avi': ('.avi', '.divx'), 'mpeg': ('.mpg', '.mpeg', '.mpe', '.m2p', '.vob', '.evo', '.mod'),
    'mpegvideo': ('.m1v', '.m2v', '.mpv'), 'mpegts': ('.ts', '.mts', '.m2ts', '.m2t', '.tp', '.trp', '.tod'),
    'asf': ('.wmv', '.asf'), 'flv': ('.flv',), 'gif': ('.gif',), 'yuv4mpegpipe': ('.y4m',), 'ogg': ('.ogv', '.ogm'),
    'mxf': ('.mxf',)}
INDEXED = ('-fflags', '+noparse')   # before an MP4: takes durations from its index, which parsers of VP9 replace
_CLOCKS = ('mpegts', 'mpeg', 'ogg')   # their times may be those of a clock that leaps, as between broadcasts


def has_clock(container: str) -> bool:
    """Returns whether the times in a container, by ffmpeg's names, may be those of a clock that leaps."""
    return not set(container.split(',')).isdisjoint(_CLOCKS)


def times(own: bool, number: int = 0) -> typing.Tuple[typing.Sequence[str], typing.Sequence[str]]:
    """Returns the options, before the input and after the output, by which times are those in a file, or repaired.

    Repaired times are counted from the earliest stream that is read: so a second output, to nowhere, reads all.

    Args:
      own: whether times are those in the file.
      number: of the input.
    """
    if own:
        return ('-copyts',), ()
    return (), ('-map', '%d:v?' % number, '-map', '%d:a?' % number, '-c', 'copy', '-f', 'null', '-')


def source(path: str, demuxer: str = '') -> typing.Tuple[str, ...]:
    """Returns the options that read a file with content of a stranger: ffmpeg opens this file and no other.

    Args:
      path: of the file.
      demuxer: ffmpeg's name of the format of a text, which ffmpeg then does not guess; '' for one of DEMUXERS.
    """
    formats = ('-format_whitelist', demuxer, '-f', demuxer) if demuxer else ('-format_whitelist', ','.join(DEMUXERS))
    return ('-protocol_whitelist', 'file,pipe', *formats, '-i', file_name(path))


@contextlib.contextmanager
def running(arguments: typing.Sequence[str], stdout: typing.Any = subprocess.DEVNULL,
            cpu_seconds: float = _LONGEST_SECONDS, **streams: typing.Any) -> typing.Iterator[subprocess.Popen]:
    """Runs ffmpeg during a `with` block, at whose end it is ended if it still runs.

    It is in a process group of its own: this program handles Ctrl-C, and ffmpeg ends when its pipe closes. Its address
    space and its time on the processor have limits, and it leaves no core dump.

    Args:
      arguments: the command line.
      cpu_seconds: limit of its time on the processor.
      stdout, streams: arguments of subprocess.Popen.
    Yields:
      the process.
    Raises:
      UserError: it cannot be started.
    """
    try:
        process = subprocess.Popen(arguments, start_new_session=True, stdout=stdout, env=_environment(), **streams)
    except OSError as error:
        raise UserError('ffmpeg cannot be started (%s): %s' % (arguments[0], error.strerror)) from None
    try:
        _limit(process, resource.RLIMIT_CORE, 0)
        _limit(process, resource.RLIMIT_AS, _ADDRESS_SPACE)
        _limit(process, resource.RLIMIT_CPU, cpu_seconds)
        yield process
    except BaseException:   # first: a thread that waits in a write holds its pipe, and closing waits for the thread
        process.kill()
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if process.poll() is None:
            process.kill()
        process.wait()


@contextlib.contextmanager
def decoding(arguments: typing.Sequence[str], stdout: typing.Any,
             **streams: typing.Any) -> typing.Iterator[typing.Tuple[subprocess.Popen, typing.Callable[[int], None]]]:
    """Runs ffmpeg as `running` does, with time on the processor for the frames that were read.

    Yields:
      the process, and a function (frames) to call with the number of frames that were read or skipped so far.
    """
    with running(arguments, stdout, _DECODER_SECONDS, **streams) as process:
        yield process, lambda frames: _limit(process, resource.RLIMIT_CPU, _DECODER_SECONDS + _FRAME_SECONDS * frames)


def _limit(process, kind, value):
    """Sets a soft limit of a running process: code of this one between fork and exec is not safe beside threads."""
    with contextlib.suppress(OSError):   # it has ended, or this system allows no limits of other processes
        own, most = resource.getrlimit(kind)
        value = math.ceil(value)   # a limit of no second ends the process at once
        soft = value if own == resource.RLIM_INFINITY else min(value, own)
        resource.prlimit(process.pid, kind, (soft, most))


class Output(typing.NamedTuple):
    """What a finished ffmpeg has written.

    Attributes:
      code: its exit code.
      data: its standard output.
      log: its messages.
    """
    code: int
    data: bytes
    log: str

    def failure(self) -> str:
        """Returns the exit code and the last message, for the text of an error."""
        return failure(self.code, self.log)


def output(*arguments: str) -> Output:
    """Runs ffmpeg to its end, which may be an error, and returns its Output; raises UserError as `running`.

    Args:
      arguments: options of ffmpeg.
    """
    with running(command(*arguments), subprocess.PIPE, stderr=subprocess.PIPE) as process:
        return _output(process)


def probe(path: str, *after: str, before: typing.Sequence[str] = ()) -> Output:
    """Reads the begin of a file that may come from a stranger; returns as `output`.

    Args:
      path: of the file.
      after, before: options of ffmpeg after and before those that read the file.
    Raises:
      UserError: as `running`; or ffmpeg does not end in two minutes.
    """
    arguments = command(*before, *source(path), *after)
    with running(arguments, subprocess.PIPE, PROBE_SECONDS, stderr=subprocess.PIPE) as process:
        try:
            return _output(process, PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError('%s: ffmpeg does not end within %g s of reading its begin: the file is no video, or its '
                            'disk is too slow' % (path, PROBE_SECONDS)) from None


def _output(process, seconds=None):
    data, log = process.communicate(timeout=seconds)
    return Output(process.returncode, data, log.decode('utf-8', 'replace'))


def failure(code: int, log: str = '') -> str:
    """Returns how ffmpeg ended and the last line of its log, for the text of an error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = ': ' + lines[-1] if lines else ''
    if code == -signal.SIGXCPU:
        return 'ffmpeg took too much time on the processor for the frames that it gave' + said
    if code < 0:
        return 'ffmpeg was ended by %s%s; %s names another one to use' % (
            signal.Signals(-code).name, said, ffmpeg_choice.VARIABLE)
    return 'ffmpeg ended with code %d%s' % (code, said)


def text(log: typing.IO[bytes]) -> str:
    """Returns the content of a log, an open file."""
    log.seek(0)
    return log.read().decode('utf-8', 'replace')


def feed(arguments: typing.Sequence[str], chunks: typing.Iterable[bytes],
         stdout: typing.Any = subprocess.DEVNULL) -> None:
    """Runs ffmpeg over data that it reads from its standard input.

    Args:
      arguments: the command line, made with `read_stdin=True`.
      chunks: iterable of bytes.
      stdout: file that takes what ffmpeg writes to its standard output.
    Raises:
      UserError: ffmpeg cannot be started, or ends with an error, or before it has read everything.
    """
    with tempfile.TemporaryFile() as log, running(arguments, stdout, stdin=subprocess.PIPE, stderr=log) as process:
        assert process.stdin is not None
        complete = True
        for chunk in chunks:
            try:
                process.stdin.write(chunk)
            except OSError:   # ffmpeg has ended; its log holds the reason
                complete = False
                break
        with contextlib.suppress(OSError):
            process.stdin.close()
        if process.wait() or not complete:
            raise UserError(failure(process.returncode, text(log)))
