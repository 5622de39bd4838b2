"""The functions of moxing.file that the project uses; obs://bucket/name is bucket/name in the folder MOXING_DOUBLE.

MOXING_DOUBLE_FAULTS names what goes wrong, separated by commas; each is what users of the real one report:
  cut      the first copy of each file, in either direction, ends without an error and holds half of the bytes
  error    the first call of each function for each path raises what the service answers
  late     a listing lacks objects that are younger than an hour; exists, stat and copy see them
  stuck    every upload fails
Each process begins anew. MOXING_DOUBLE_LOG is a file to which each upload and removal adds a line. An upload whose name
ends in MOXING_DOUBLE_HOLD does not end: it adds the line 'held', and no object.
"""
import os
import shutil
import threading
import time
import typing

_SCHEME = 'obs://'
_done = set()
_lock = threading.Lock()


class FileStatistics(typing.NamedTuple):
    """What `stat` returns."""
    length: int
    mtime_nsec: int
    is_directory: bool


class ObsError(Exception):
    """An answer of the service."""


def exists(url):
    _fail('exists', url)
    return os.path.exists(_path(url))


def is_directory(url):
    _fail('is_directory', url)
    return os.path.isdir(_path(url))


def list_directory(url, recursive=False, skip_file_not_found=False):
    """Names relative to the folder; with `recursive` those of folders too, which end in a slash."""
    _fail('list_directory', url)
    root, names = _path(url), []
    for folder, folders, files in os.walk(root):
        names += [os.path.relpath(os.path.join(folder, name), root) + '/' for name in folders]
        names += [os.path.relpath(os.path.join(folder, name), root) for name in files
                  if 'late' not in _faults() or time.time() - os.path.getmtime(os.path.join(folder, name)) > 3600]
        if not recursive:
            break
    return names


def stat(url):
    _fail('stat', url)
    found = os.stat(_path(url))
    return FileStatistics(found.st_size, found.st_mtime_ns, os.path.isdir(_path(url)))


def copy(src_url, dst_url):
    """Copies a file; OBS makes folders as they are needed, the local disk does not."""
    _fail('copy', src_url)
    source, target = _path(src_url), _path(dst_url)
    upload = dst_url.startswith(_SCHEME)
    if upload:
        if 'stuck' in _faults():
            raise ObsError('[ErrorCode]InternalError [Status]500 on %s' % dst_url)
        if os.environ.get('MOXING_DOUBLE_HOLD') and dst_url.endswith(os.environ['MOXING_DOUBLE_HOLD']):
            _log('held', dst_url)
            time.sleep(120)
        os.makedirs(os.path.dirname(target), exist_ok=True)
    if 'cut' in _faults() and _first('cut', src_url) and os.path.getsize(source) > 1:
        with open(source, 'rb') as whole:
            data = whole.read(os.path.getsize(source) // 2)
        with open(target, 'wb') as part:
            part.write(data)
    elif upload:
        # an object is there with all its bytes, or as it was
        shutil.copyfile(source, target + '~')
        os.replace(target + '~', target)
    else:
        shutil.copyfile(source, target)
    if upload:
        _log('put', dst_url)


def remove(url, recursive=False):
    _fail('remove', url)
    if os.path.isdir(_path(url)) and not recursive:
        raise ObsError('%s is a folder' % url)
    _log('remove', url)
    (shutil.rmtree if os.path.isdir(_path(url)) else os.remove)(_path(url))


def _faults():
    return os.environ.get('MOXING_DOUBLE_FAULTS', '').split(',')


def _path(url):
    if not url.startswith(_SCHEME):
        return url
    assert '//' not in url[len(_SCHEME):], url
    return os.path.join(os.environ['MOXING_DOUBLE'], url[len(_SCHEME):])


def _first(what, url):
    with _lock:
        first = (what, url) not in _done
        _done.add((what, url))
    return first


def _fail(function, url):
    if 'error' in _faults() and _first(function, url):
        raise ObsError('[ErrorCode]ServiceUnavailable [Status]503 on %s of %s' % (function, url))


def _log(what, url):
    if os.environ.get('MOXING_DOUBLE_LOG'):
        with _lock, open(os.environ['MOXING_DOUBLE_LOG'], 'a') as log:
            log.write('%s %s\n' % (what, url))
