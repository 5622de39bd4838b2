"""The progress of a restoration."""
import typing

from data_tools.base.progress import AUTO, progress_bar


def bar(total: typing.Optional[int], what: str, kind: str = AUTO) -> typing.Any:
    """Returns the progress of frames, see `progress_bar`; with total=None one that only counts, shown after 2 s."""
    return progress_bar(total=total, desc=what, unit='frame', kind=kind, delay=0 if total else 2,
                        note='all frames are restored; the last files are still being written')
