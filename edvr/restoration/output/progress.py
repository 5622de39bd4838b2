"""The progress bar of a restoration."""
import sys

from tqdm import tqdm


def bar(total, what):
    """A tqdm bar of frames on stderr; with total=None one that only counts, shown after 2 s."""
    # into a log file a line now and then is enough
    return tqdm(total=total, desc=what, unit='frame', file=sys.stderr, mininterval=0.1 if sys.stderr.isatty() else 30,
                delay=0 if total else 2)


def announce_end(progress):
    """Says that only writing is left, once all frames of a bar are restored."""
    if progress.n >= progress.total:
        progress.refresh()
        progress.write('all frames are restored; the last files are still being written', file=sys.stderr)
