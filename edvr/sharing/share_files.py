"""The files by which worker processes get their shares of the frames and return progress and results.

The files of a job are in a folder that only this user can read. Shares are pickled, so the processes do not search the
input again.
"""
import os
import pickle
import typing

import numpy as np

from data_tools.base import files

if typing.TYPE_CHECKING:   # it loads TensorFlow
    from edvr.restore.restorer import Restorer

VARIABLE = 'EDVR_SHARE'   # the path of the share of a process


class WorkerShare(typing.NamedTuple):
    """The work of one process.

    Attributes:
      number: of the process.
      shares: number of shares of the job.
      work: function(restorer, items, progress) -> iterator of results; it must be a function of a module.
      items: the argument of `work`.
    """
    number: int
    shares: int
    work: typing.Callable
    items: typing.Any


class Counter:
    """Counts the work of a process in memory that all processes of the job share; replaces a progress bar."""

    def __init__(self, folder: str, number: int, count: int) -> None:
        self._number, self._counts = number, counts(folder, count)

    def update(self) -> None:
        """Counts one frame."""
        self._counts[self._number] += 1


def counts(folder: str, count: int) -> np.ndarray:
    """Returns the counters of the `count` processes of a job: int64 [count], in memory that all callers share."""
    path = os.path.join(folder, 'counts')
    if not os.path.exists(path):
        np.zeros(count, np.int64).tofile(path)
    return np.memmap(path, np.int64, 'r+', shape=(count,))


def write(folder: str, shares: typing.Sequence[WorkerShare]) -> typing.Dict[int, typing.Dict[str, str]]:
    """Writes shares into a folder. Returns the environment of each process: {number: {variable: value}}.

    Raises:
      UserError: the folder cannot be written.
    """
    environments = {}
    with files.explained(folder):
        for share in shares:
            path = os.path.join(folder, 'share_%d' % share.number)
            with open(path, 'wb') as file:
                pickle.dump(share, file)
            environments[share.number] = {VARIABLE: path}
        counts(folder, len(shares))
    return environments


def given() -> bool:
    """Returns whether this process has a share to do."""
    return VARIABLE in os.environ


def do(restorer: 'Restorer') -> None:
    """Does the share of this process."""
    path = os.environ[VARIABLE]
    with open(path, 'rb') as file:
        share = pickle.load(file)
    counter = Counter(os.path.dirname(path), share.number, share.shares)
    with files.atomic_path(path + '.results') as partial, open(partial, 'wb') as file:
        for result in share.work(restorer, share.items, counter):
            pickle.dump(result, file)


def results(folder: str, shares: typing.Sequence[WorkerShare]) -> typing.Iterator[typing.Any]:
    """Yields the results of all shares in their order."""
    for share in shares:
        with open(os.path.join(folder, 'share_%d.results' % share.number), 'rb') as file:
            while True:
                try:
                    yield pickle.load(file)
                except EOFError:
                    break
