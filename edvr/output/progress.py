"""The progress of a restoration."""
import typing

from data_tools.base.progress import AUTO, progress_bar


def bar(total: typing.Optional[int], what: str, kind: str = AUTO, delay: float = 0.) -> typing.Any:
    """Returns the progress of frames, see `progress_bar`; with total=None it only counts; shown after `delay` s."""
    return progress_bar(total=total, desc=what, unit='frame', kind=kind, delay=delay,
                        note='all frames are restored; the last files are still being written')
