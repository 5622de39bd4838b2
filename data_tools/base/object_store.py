"""Objects of Huawei OBS (`obs://...`), copied by the library moxing, which the images of ModelArts have.

Neither copies nor listings are trusted: a copy counts when its size is that of its source, and is repeated otherwise.
"""
import contextlib
import importlib
import os
import time
import uuid
from typing import Any, Callable, List, NamedTuple, Optional, TypeVar

from data_tools.base import files
from data_tools.base.errors import UserError

SCHEME = 'obs://'
_TRIES = 4       # of each operation
_PAUSE = .5      # seconds after the first failed one; doubled each time
T = TypeVar('T')


class Entry(NamedTuple):
    """Describes an object.

    Attributes:
      size: bytes.
      mtime_ns: time of its last change, in nanoseconds.
    """
    size: int
    mtime_ns: int


def moxing() -> Any:
    """Returns the module moxing.file. Raises UserError with the remedy if it does not load."""
    try:
        return importlib.import_module('moxing').file
    except Exception as error:
        raise UserError('obs:// needs moxing, which does not load here (%s: %s): use an image of ModelArts, or copy '
                        'the folder with obsutil and give its local path' % (type(error).__name__, error)) from None


class ObjectStore:
    """Reads and writes OBS through moxing."""

    def __init__(self) -> None:
        """Loads moxing. Raises UserError if it does not load."""
        self._file = moxing()

    def entry(self, url: str) -> Optional[Entry]:
        """Returns the object at `url`; None if there is none, or a folder."""
        def look() -> Optional[Entry]:
            if not self._file.exists(url) or self._file.is_directory(url):
                return None
            found = self._file.stat(url)
            return Entry(int(found.length), int(found.mtime_nsec))
        return _repeated(look, 'cannot look at %s' % url)

    def names(self, url: str) -> List[str]:
        """Returns the names of the objects in a folder and its folders, sorted, relative to it; [] without a folder.

        Raises:
          UserError: a name leads out of the folder.
        """
        def look() -> List[str]:
            return list(self._file.list_directory(url, recursive=True)) if self._file.is_directory(url) else []
        found = {name[len(url) + 1:] if name.startswith(url + '/') else name
                 for name in _repeated(look, 'cannot list %s' % url)}
        found = {name for name in found if name and not name.endswith('/')}
        # folders are listed too, some without a slash
        folders = {name[:index] for name in found for index, character in enumerate(name) if character == '/'}
        for name in found:
            if name.startswith('/') or '..' in name.split('/'):
                raise UserError('%s has an object named %r, which leads out of the folder: rename it' % (url, name))
        return sorted(found - folders)

    def get(self, url: str, path: str) -> Optional[Entry]:
        """Copies an object to a file, which appears when it is complete; its time becomes that of the object.

        Returns:
          the object; None if it is a folder, or is no longer there.
        """
        def copy() -> Optional[Entry]:
            entry = self.entry(url)
            if entry is None:
                return None
            partial = '%s.%d-%s%s' % (path, os.getpid(), uuid.uuid4().hex[:8], files.PARTIAL)
            try:
                self._file.copy(url, partial)
                _require_size(os.path.getsize(partial), entry.size, entry.size)
                os.utime(partial, ns=(entry.mtime_ns, entry.mtime_ns))
                os.replace(partial, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(partial)
            return entry
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return _repeated(copy, 'cannot copy %s to %s' % (url, path))

    def put(self, path: str, url: str) -> None:
        """Copies a file to an object. A file may grow meanwhile, as logs do.

        Raises:
          FileNotFoundError: the file is no longer there.
          UserError: no attempt made an object of the right size.
        """
        def copy() -> None:
            before = os.path.getsize(path)
            self._file.copy(path, url)
            entry = self.entry(url)
            _require_size(-1 if entry is None else entry.size, before, os.path.getsize(path))
        _repeated(copy, 'cannot copy %s to %s' % (path, url), of=path)

    def remove(self, url: str) -> None:
        """Removes an object, if it is there."""
        def remove() -> None:
            if self._file.exists(url):
                self._file.remove(url)
        _repeated(remove, 'cannot remove %s' % url)


def _require_size(found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise OSError('the copy has %d bytes of %d' % (found, least))


def _repeated(action: Callable[[], T], problem: str, of: str = '') -> T:
    """Returns the result of `action`, which is repeated when it fails: networks and services do at times.

    Args:
      action: without arguments; may raise anything, as moxing does.
      problem: what failed, for the error.
      of: a local file, without which trying again is futile.
    Raises:
      UserError: with the last failure.
      FileNotFoundError: `of` does not exist.
    """
    for number in range(_TRIES):
        try:
            return action()
        except UserError:
            raise
        except Exception as error:
            if of and not os.path.exists(of):
                raise FileNotFoundError(of) from error
            if number == _TRIES - 1:
                raise UserError('%s: %s; check bucket, region and permissions, and start again'
                                % (problem, str(error).split('\n')[0] or type(error).__name__)) from error
            time.sleep(_PAUSE * 2 ** number)
    raise AssertionError
