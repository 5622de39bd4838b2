"""The files by which processes get their shares of the frames and return progress and results.

The files of a job are in a folder that only this user can read. Shares are pickled, so the processes do not search the
input again.
"""
import os
import pickle
import typing

import numpy as np

from data_tools.base import files

VARIABLE = 'EDVR_SHARE'   # the path of the share of a process


class Share(typing.NamedTuple):
    """The work of one process.

    number: int. count: int, number of shares of the job. work: function(restorer, items, progress) -> iterator of
    results; it must be a function of a module. items: its argument.
    """
    number: int
    count: int
    work: typing.Callable
    items: typing.Any


class Counter:
    """Counts the work of a process in memory that all processes of the job share; replaces a progress bar."""

    def __init__(self, folder, number, count):
        self._number, self._counts = number, counts(folder, count)

    def update(self):
        self._counts[self._number] += 1


def counts(folder, count):
    """The counters of the `count` processes of a job: int64 [count], in memory that all callers share."""
    path = os.path.join(folder, 'counts')
    if not os.path.exists(path):
        np.zeros(count, np.int64).tofile(path)
    return np.memmap(path, np.int64, 'r+', shape=(count,))


def write(folder, shares):
    """Writes shares (list of Share) into a folder. Returns the environment of each process: {number: dict}.

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


def given():
    """Whether this process has a share to do."""
    return VARIABLE in os.environ


def do(restorer):
    """Does the share of this process with a Restorer."""
    path = os.environ[VARIABLE]
    with open(path, 'rb') as file:
        share = pickle.load(file)
    counter = Counter(os.path.dirname(path), share.number, share.count)
    with files.atomic_path(path + '.results') as partial, open(partial, 'wb') as file:
        for result in share.work(restorer, share.items, counter):
            pickle.dump(result, file)


def results(folder, shares):
    """Yields the results of all shares (list of Share) in their order."""
    for share in shares:
        with open(os.path.join(folder, 'share_%d.results' % share.number), 'rb') as file:
            while True:
                try:
                    yield pickle.load(file)
                except EOFError:
                    break
