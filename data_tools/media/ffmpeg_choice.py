"""Which ffmpeg program is used: that of IMAGEIO_FFMPEG_EXE, the one in imageio-ffmpeg, or a newer one on the PATH."""
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import typing

import imageio_ffmpeg

from data_tools.base.errors import UserError

VARIABLE = 'IMAGEIO_FFMPEG_EXE'
_OLD = (5, 0)      # versions before it have had no fixes for years
_ENCODERS = ('libx264', 'libx265', 'libvpx-vp9')   # builds without one of them write fewer videos
_SECONDS = 60.     # for an answer
_lock = threading.Lock()


def executable() -> str:
    """Returns the path of the ffmpeg in use.

    The one that imageio-ffmpeg brings for Python 3.7 is of 2019. A newer one on the PATH with the same encoders is used
    instead; a line on stderr says so, and IMAGEIO_FFMPEG_EXE is set for this process and those that it starts.

    Raises:
      UserError: there is none, or it cannot be started.
    """
    with _lock:   # videos are scanned by several threads
        given = os.environ.get(VARIABLE)
        if given:
            return given
        try:
            bundled = str(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError:
            raise UserError('there is no ffmpeg: install one, or name its program in ' + VARIABLE) from None
        newer = _newer_on_path(os.environ.get('PATH', '')) if number(version_of(bundled)) < _OLD else None
        if newer is None:
            return bundled
        print('note: ffmpeg %s (%s) is used instead of the bundled %s; %s=%s chooses that one'
              % (version_of(newer), newer, version_of(bundled), VARIABLE, bundled), file=sys.stderr, flush=True)
        os.environ[VARIABLE] = newer
        return newer


@functools.lru_cache(maxsize=None)
def version_of(path: str) -> str:
    """Returns the version of an ffmpeg program, such as '4.2.2-static'. Raises UserError if it is none."""
    said = _output(path, '-version')
    match = re.match(r'ffmpeg version (\S+)', said)
    if not match:
        raise UserError('%s does not answer to -version as ffmpeg does: name another one in %s' % (path, VARIABLE))
    return match.group(1)


def number(version: str) -> typing.Tuple[int, ...]:
    """Returns (major, minor); a build without a number, from the development tree, counts as new."""
    match = re.search(r'(\d+)\.(\d+)', version)
    return tuple(int(part) for part in match.groups()) if match else (99, 0)


@functools.lru_cache(maxsize=None)
def _newer_on_path(path: str) -> typing.Optional[str]:
    """Returns an ffmpeg that is not old and has all encoders, from the folders of `path`; None if there is none."""
    found = shutil.which('ffmpeg', path=path)
    try:
        if found is None or number(version_of(found)) < _OLD:
            return None
        encoders = _output(found, '-hide_banner', '-encoders').split()
    except UserError:
        return None
    return found if set(_ENCODERS) <= set(encoders) else None


def _output(path, *arguments):
    try:
        done = subprocess.run((path,) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=_SECONDS)
    except OSError as error:
        raise UserError('ffmpeg cannot be started (%s): %s; name another one in %s'
                        % (path, error.strerror, VARIABLE)) from None
    except subprocess.TimeoutExpired:
        raise UserError('%s %s did not end within %g s: name another ffmpeg in %s'
                        % (path, ' '.join(arguments), _SECONDS, VARIABLE)) from None
    return done.stdout.decode('utf-8', 'replace')
