"""Copies between folders of an object store and of this machine.

What is copied back never leaves a state in the store that is worse than the older one: a checkpoint's data come first,
then its index, then the file `checkpoint` that names it; only then older checkpoints are removed that the run has
removed. A process that is killed in between leaves the older state, and objects that nothing names.
"""
import concurrent.futures
import contextlib
import os
import re
import shutil
import tempfile
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.base.object_store import Entry, ObjectStore

_POINTER = 'checkpoint'                       # the file of TensorFlow that names the newest checkpoint of its folder
_STATE = ('model.json', 'config.json', 'run_state.json')   # what a training directory has beside checkpoints
_PART = re.compile(r'\.(index|data-\d+-of-\d+)$')
_LOCAL = re.compile(r'(^|/)(lock|[^/]*\.lock|[^/]*%s)(/|$)' % re.escape(files.PARTIAL))   # what no other machine needs
_THREADS = 8


def download(store: ObjectStore, url: str, path: str, checkpoint: bool = False, exact: bool = True) -> List[str]:
    """Copies an object, or a folder, to `path`; files that are there already with size and time are kept.

    Args:
      url: the object or folder.
      path: the file or folder on this machine; its parents are made.
      checkpoint: whether `url` is a training directory, of which only checkpoints and configuration are copied, or the
        prefix of a checkpoint.
      exact: whether files are removed from a folder that the store does not have, as older checkpoints.
    Returns:
      the names of the files, relative to `path` ('' if `path` is the file); none if there is nothing at `url`.
    Raises:
      UserError: no space, or no attempt was successful.
    """
    url = url.rstrip('/')
    if store.entry(url):
        return _fetch(store, {path: url}, path)
    names = set(store.names(url)) | _named(store, url)
    if checkpoint:
        names = {name for name in names if _is_of_checkpoint(name)}
        folder, _, base = url.rpartition('/')
        if not names:
            names = {name for name in store.names(folder) if _is_of_checkpoint(name)
                     and (name.endswith('.json') or name.startswith(base + '.'))}
            if not any(_PART.search(name) for name in names):
                return []
            url, path, exact = folder, os.path.dirname(path), False
    if exact:
        for name in _files_in(path):
            if name not in names and (_is_of_checkpoint(name) or not checkpoint):
                os.remove(os.path.join(path, name))
    return _fetch(store, {os.path.join(path, name): url + '/' + name for name in names}, path)


def _is_of_checkpoint(name: str) -> bool:
    return '/' not in name and (name == _POINTER or name.endswith('.json') or _PART.search(name) is not None)


def _named(store: ObjectStore, url: str) -> Set[str]:
    """Returns the newest objects of a training directory, which a listing may not show yet."""
    if not store.entry(url + '/' + _POINTER):
        return set()
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, _POINTER)
        store.get(url + '/' + _POINTER, local)
        newest = _newest(_read(local))
    parts = [newest + '.index', newest + '.data-00000-of-00001', *_STATE] if newest else []
    return {_POINTER} | {name for name in parts if store.entry(url + '/' + name)}


def _fetch(store: ObjectStore, wanted: Dict[str, str], root: str) -> List[str]:
    """Copies {path: url}; returns the names of the files relative to `root`."""
    with _pool() as pool:
        entries = dict(zip(wanted, pool.map(store.entry, wanted.values())))
        missing = {path: entry for path, entry in entries.items() if entry and _state(path) != entry}
        _require_space(sum(entry.size for entry in missing.values()), root)
        list(pool.map(lambda path: store.get(wanted[path], path), missing))
    return sorted('' if path == root else os.path.relpath(path, root)
                  for path, entry in entries.items() if entry and os.path.exists(path))


def _require_space(size: int, path: str) -> None:
    folder = path
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError('%d bytes are to be copied to %s, where %d are free: free some space, or choose another '
                        '--cache_dir' % (size, path, free))


class Mirror:
    """Copies a file or folder of this machine back to the store, again and again."""

    def __init__(self, store: ObjectStore, url: str, path: str, downloaded: Iterable[str] = ()) -> None:
        """Takes note of what the store has.

        Args:
          url: the object or folder in the store.
          path: the file or folder here; it need not exist yet.
          downloaded: the names of `download`, which the store has as they are here.
        """
        self._store, self._url, self._path = store, url.rstrip('/'), path
        self._known: Dict[str, Optional[Entry]] = {name: _state(self._local(name)) for name in downloaded}

    def sync(self) -> int:
        """Copies what is new or changed; returns the number of files copied.

        Raises:
          UserError: a copy failed; those after it, in the order of the module, have not begun.
        """
        with tempfile.TemporaryDirectory() as folder:
            # what names a checkpoint is read before the checkpoint is copied: later it may name the next one
            pointers = dict(self._pointers(folder))
            names = self._names()
            plain = [name for name in names if not _PART.search(name) and os.path.basename(name) != _POINTER]
            copied = 0
            for group in ([name for name in names if _PART.search(name) and not name.endswith('.index')], plain,
                          [name for name in names if name.endswith('.index')]):
                copied += self._copy(group)
            for name, copy in sorted(pointers.items()):
                copied += self._point(name, copy)
        self._remove_vanished(set(self._names()))
        return copied

    def _local(self, name: str) -> str:
        return os.path.join(self._path, name) if name else self._path

    def _object(self, name: str) -> str:
        return self._url + '/' + name if name else self._url

    def _names(self) -> List[str]:
        if os.path.isfile(self._path):
            return ['']
        return [name for name in _files_in(self._path) if not _LOCAL.search(name)]

    def _pointers(self, folder: str) -> Iterator[Tuple[str, str]]:
        for number, name in enumerate(self._names()):
            if os.path.basename(name) == _POINTER:
                copy = os.path.join(folder, str(number))
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy2(self._local(name), copy)
                    yield name, copy

    def _copy(self, names: List[str]) -> int:
        changed = [name for name in names if self._known.get(name) != _state(self._local(name))]
        with _pool() as pool:
            return sum(pool.map(self._put, changed))

    def _put(self, name: str, source: str = '') -> bool:
        """Copies a file; returns False if it has vanished, as a checkpoint that the run no longer keeps."""
        source = source or self._local(name)
        state = _state(source)
        try:
            self._store.put(source, self._object(name))
        except FileNotFoundError:
            return False
        self._known[name] = state
        return True

    def _point(self, name: str, copy: str) -> bool:
        """Copies a file `checkpoint`, as read before, if the store has the checkpoint that it names."""
        if self._known.get(name) == _state(copy) or not self._has(name, copy):
            return False
        return self._put(name, copy)

    def _has(self, pointer: str, copy: str) -> bool:
        """Returns whether all files of the checkpoint that `pointer` names are in the store as they are here."""
        prefix = os.path.join(os.path.dirname(pointer), _newest(_read(copy)))
        parts = [name for name in self._known if name.startswith(prefix + '.') and _PART.search(name)]
        return (prefix + '.index' in parts and len(parts) > 1
                and all(self._known[name] == _state(self._local(name)) for name in parts))

    def _remove_vanished(self, names: Set[str]) -> None:
        """Removes the checkpoints that are gone here, index first, if the store has the one that replaces them."""
        gone = [name for name in self._known if name not in names and _PART.search(name)]
        for name in sorted(gone, key=lambda name: (not name.endswith('.index'), name)):
            pointer = os.path.join(os.path.dirname(name), _POINTER)
            local = self._local(pointer)
            if os.path.exists(local) and self._known.get(pointer) == _state(local) and self._has(pointer, local):
                self._store.remove(self._object(name))
                del self._known[name]


def _files_in(path: str) -> List[str]:
    """Returns the names of all files in a folder and its folders, sorted, relative to it."""
    return sorted(os.path.relpath(os.path.join(folder, name), path)
                  for folder, _, names in os.walk(path) for name in names)


def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_THREADS)


def _state(path: str) -> Optional[Entry]:
    """Returns size and time of the change of a file, None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Entry(found.st_size, found.st_mtime_ns)


def _read(path: str) -> str:
    with open(path, 'rb') as file:
        return file.read().decode('utf-8', 'replace')


def _newest(text: str) -> str:
    """Returns the name of the checkpoint that the text of a file `checkpoint` states as the newest; '' for none."""
    match = re.search(r'^model_checkpoint_path: "([^"/]+)"', text, re.MULTILINE)
    return match.group(1) if match else ''
