"""Progress of long work on standard error: a bar on a terminal, a line now and then in a log, or JSON for programs."""
import json
import sys
from typing import Any, Callable, Dict, Optional, Type

from tqdm import tqdm

AUTO = 'auto'


class _Bar(tqdm):
    """Shows a bar on a terminal.

    Attributes:
      SECONDS: between two states that are shown.
      note: text to print when all is done but the last files.
    """

    SECONDS = .2
    note = ''

    def update(self, n: Optional[float] = 1) -> Optional[bool]:
        shown = super().update(n)
        if n and self.note and self.total and self.n >= self.total:
            self.refresh()
            self.write(self.note, file=self.fp)
        return shown


class _Lines(_Bar):
    """Shows progress as whole lines, without the control characters of bars."""

    SECONDS = 30.
    shown_n: Any = None   # how much was done when the last line was printed

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Returns a function that prints a state of the bar as a line."""
        def write(text: str) -> None:
            file.write(text.strip() + '\n')
            file.flush()
        return write

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = '\n', nolock: bool = False) -> None:
        """Prints text; there is no bar that it could meet."""
        print(s, file=file or sys.stdout, end=end, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Does nothing: lines stay."""

    def display(self, msg: Optional[str] = None, pos: Optional[int] = None) -> bool:
        """Prints the present state, unless it was printed; `msg` and `pos` belong to bars on terminals."""
        if self.n != self.shown_n:
            self.shown_n = self.n
            self.sp(self.line())
        return True

    def line(self) -> str:
        """Returns the present state."""
        return str(self)

    def close(self) -> None:
        """Prints the last state; a bar that was not shown yet stays unseen."""
        if not self.disable and self.shown_n is not None:
            self.display()
        self.disable: bool = True   # tqdm's own method would add an empty line
        self._decr_instances(self)


class _Json(_Lines):
    """Shows progress as JSON, an object a line."""

    SECONDS = .5

    def line(self) -> str:
        state = self.format_dict
        seconds = state['elapsed']
        return json.dumps(dict(stage=self.desc.rstrip(': '), done=self.n, total=self.total, unit=self.unit.strip(),
                               seconds=round(seconds, 3), per_second=round(self.n / seconds, 3) if seconds else None))


KINDS: Dict[str, Type[_Bar]] = {'bar': _Bar, 'lines': _Lines, 'json': _Json}


def progress_bar(*iterable: Any, kind: str = AUTO, note: str = '', **options: Any) -> Any:
    """Returns a tqdm bar on standard error.

    Args:
      *iterable: what it goes through, if anything.
      kind: one of KINDS; 'auto' is 'bar' on a terminal, else 'lines'.
      note: text to print when `total` is reached and the last files are not written yet; not for JSON.
      **options: arguments of tqdm.
    """
    if kind == AUTO:
        kind = 'bar' if sys.stderr.isatty() else 'lines'
    shown = KINDS[kind](*iterable, file=sys.stderr, mininterval=KINDS[kind].SECONDS, miniters=1, **options)
    shown.note = '' if kind == 'json' else note
    return shown
