"""Locks shards, so that one packing run at a time writes a shard. Runs of different shards may share a set."""
import contextlib
import os
import re
from typing import Iterator, List, Tuple

from data_tools.base import files, lock
from data_tools.base.errors import UserError

_NAME = '.packing-%05d-%05d.lock'
_PATTERN = re.compile(r'\.packing-(\d{5})-(\d{5})\.lock$')


@contextlib.contextmanager
def of_shards(folder: str, wanted: range) -> Iterator[None]:
    """Holds the lock of some shards of a set during a `with` block. The folder is made if absent.

    Args:
      folder: of the set.
      wanted: shard numbers; runs with disjoint ranges may hold their locks at the same time.
    Raises:
      UserError: another run packs some of these shards; the text names the run.
    """
    files.make_dir(folder)
    with lock.hold(_path(folder, wanted), folder, '--output_dir'):
        for first, end, name in others(folder, wanted):
            if first <= wanted[-1] and wanted[0] < end:
                raise UserError('another run (%s) is packing shards %d:%d of %s: wait for it, stop it, or choose '
                                'another --output_dir or --shard_range' % (name, first, end, folder))
        yield


def others(folder: str, wanted: range) -> List[Tuple[int, int, str]]:
    """Returns (first, end, name) of each run that holds another lock of a set; nothing for remote folders."""
    found = []
    for path in _lock_files(folder):
        name = lock.holder(path) if path != _path(folder, wanted) else None
        if name:
            numbers = _PATTERN.match(os.path.basename(path))
            assert numbers is not None   # `_lock_files` lists only matching names
            found.append((int(numbers.group(1)), int(numbers.group(2)), name))
    return found


def is_lock(name: str) -> bool:
    """Returns whether a file name in the folder of a set is that of a lock file."""
    return _PATTERN.match(name) is not None


def remove_left(folder: str) -> None:
    """Removes the lock files that killed runs have left."""
    for path in _lock_files(folder):
        if lock.holder(path) is None:
            files.remove(path)


def _path(folder, wanted):
    return os.path.join(folder, _NAME % (wanted[0], wanted[-1] + 1))


def _lock_files(folder):
    return [] if files.is_remote(folder) else [os.path.join(folder, name) for name in files.listing(folder)
                                               if is_lock(name)]
