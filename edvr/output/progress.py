"""The progress bar of a restoration."""
import sys
import typing

from tqdm import tqdm


def bar(total: typing.Optional[int], what: str) -> tqdm:
    """Returns a bar of frames on stderr; with total=None one that only counts, shown after 2 s."""
    # a log file gets a line every 30 s
    return _Frames(total=total, desc=what, unit='frame', file=sys.stderr,
                   mininterval=0.1 if sys.stderr.isatty() else 30, delay=0 if total else 2)


class _Frames(tqdm):
    """A bar that says when all frames are restored and only writing is left."""

    def update(self, n=1):
        shown = super().update(n)
        if n and self.total and self.n >= self.total:
            self.refresh()
            self.write('all frames are restored; the last files are still being written', file=sys.stderr)
        return shown
