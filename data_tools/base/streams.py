"""Standard output and standard errors of a program: nobody need read them, and they show no control characters."""
import os
import re
import sys
from typing import Any, Iterable, TextIO

# C0 without tab and newline, delete, C1, the marks that change the order of what is shown, and bytes that are no text
_CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_BAR = re.compile('\r|(\x1b\\[A)+\\Z')   # how a progress bar begins or moves up


def visible(text: str) -> str:
    """Returns `text` with control characters, but tabs and newlines, as escape sequences of Python such as \\x1b."""
    return _CONTROL.sub(lambda match: match.group().encode('unicode_escape').decode(), text)


def guard() -> None:
    """Guards sys.stdout and sys.stderr by `Guarded`, and opens the null device in place of closed descriptors 0 to 2.

    Otherwise the next file that is opened takes the place of a closed descriptor, and receives what is printed.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # the lowest free descriptor is this one; children inherit it as they do the other standard ones
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if not isinstance(stream, Guarded):
            setattr(sys, name, Guarded(stream or open(os.devnull, 'w')))   # noqa: SIM115 open until the process ends


class Guarded:
    """A text stream whose failures do not end the work, and whose text is `visible`.

    What cannot be written (a closed pipe, a full disk, a closed terminal) is lost, with all that follows.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text; a carriage return or a move upwards at its begin, as of progress bars, is kept."""
        begin = _BAR.match(text)
        kept = begin.group() if begin else ''
        shown = kept + visible(text[len(kept):])
        try:
            self._stream.write(shown)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or 'ascii'
            self.write(shown.encode(encoding, 'backslashreplace').decode(encoding))
        except (OSError, ValueError, RuntimeError) as error:
            self._give_up(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes the stream."""
        try:
            self._stream.flush()
        except (OSError, ValueError, RuntimeError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, (BlockingIOError, RuntimeError)):
            return   # a slow reader, or a signal handler that prints during a print: later text may be written
        try:
            # the descriptor, because the buffers of this stream, and libraries in C, write there at the end too
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)
        except (OSError, ValueError):
            self._stream = open(os.devnull, 'w')   # noqa: SIM115 open until the process ends
