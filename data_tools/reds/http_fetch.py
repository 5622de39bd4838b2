"""One large file over HTTP, whole or not at all: resumed by range requests, retried, never appended to wrongly."""
import errno
import fcntl
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from data_tools.base import files
from data_tools.base.errors import UserError

_CHUNK = 1 << 20
_LATER = (408, 425, 429, 500, 502, 503, 504)   # HTTP statuses that may be gone on the next try
_LONGEST_WAIT = 60.                            # seconds


class _InterruptedError(Exception):
    """The transfer stopped in a way that another try may mend; the text says how."""


def fetch(url, path, retries=8, wait=1., timeout=60.):
    """Downloads `url` to `path`, going on where an earlier call (or process) stopped.

    Bytes gather in `path`.partial; `path`.partial.json notes the size and the version (ETag or Last-Modified) that they
    belong to. A server that ignores ranges, or serves another version meanwhile, makes the file start over.

    Args:
      url: str.
      path: str, the final name; it appears only when all bytes are there. An existing file is returned at once.
      retries: int, tries in a row without a single new byte before giving up.
      wait: float, seconds before the second try; doubled for each further one.
      timeout: float, seconds without an answer or data before a try is given up.
    Raises:
      UserError: the server refuses (404, ...), the tries are used up, the disk is full, or another process is
        downloading the same file.
    """
    if os.path.exists(path):
        return
    files.make_dir(os.path.dirname(os.path.abspath(path)))
    partial = path + '.partial'
    with files.explained(partial), open(partial, 'ab') as file:
        _lock(file, partial)
        with tqdm(unit='B', unit_scale=True, unit_divisor=1024, desc=os.path.basename(path)) as progress:
            _fetch_all(url, file, partial + '.json', progress, retries, wait, timeout)
        file.flush()
        os.fsync(file.fileno())
        os.replace(partial, path)   # under the lock
    if os.path.exists(partial + '.json'):
        os.remove(partial + '.json')


def _lock(file, partial):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # whoever held the lock before may have finished and renamed the very file that we opened
        ours = os.path.exists(partial) and os.path.samestat(os.fstat(file.fileno()), os.stat(partial))
    except OSError:
        ours = False
    if not ours:
        raise UserError('another process is downloading to %s; let it finish or stop it' % partial)


def _fetch_all(url, file, note, progress, retries, wait, timeout):
    failures, best = 0, file.tell()
    while True:
        try:
            _fetch_once(url, file, note, progress, timeout)
            return
        except _InterruptedError as trouble:
            # only bytes never had before count as progress: a server that makes us start over must not hold us forever
            failures, best = 1 if file.tell() > best else failures + 1, max(best, file.tell())
            if failures > retries:
                raise UserError('%s: %s, after %d tries without progress; %d bytes are kept: start again later to '
                                'continue, or give a mirror with --base_url' % (url, trouble, failures, file.tell())
                                ) from None
            seconds = min(_LONGEST_WAIT, wait * 2 ** (failures - 1))
            tqdm.write('%s: %s; trying again in %.0f s' % (os.path.basename(url), trouble, seconds))
            time.sleep(seconds)


def _fetch_once(url, file, note, progress, timeout):
    """One request; returns when the file is whole, raises _InterruptedError when more is to come."""
    known, have = _read_note(note, url), file.tell()
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'edvr-download/1'}
    if have and known is None:
        have = _restart(file)   # bytes of unknown origin
    if have:
        headers['Range'] = 'bytes=%d-' % have
        if known['version']:
            headers['If-Range'] = known['version']
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            size, version = _accept(answer, file, have, known)
            files.write_json(note, {'url': url, 'size': size, 'version': version})
            progress.total, progress.n = size, file.tell()
            progress.refresh()
            _check_room(file, size)
            _copy(answer, file, progress)
    except urllib.error.HTTPError as error:
        _refused(error, url, file, known)
        return
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _InterruptedError(str(getattr(error, 'reason', None) or error or type(error).__name__)) from None
    except OSError as error:
        # reading from a socket can time out with a bare OSError; writing to the disk fails with these
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS):
            raise
        raise _InterruptedError(str(error)) from None
    if size is not None and file.tell() < size:
        raise _InterruptedError('the connection ended after %d of %d bytes' % (file.tell(), size))


def _accept(answer, file, have, known):
    """Brings the file to where the answer's body starts. Returns the whole size (None if untold) and its version."""
    version = answer.headers.get('ETag') or ''
    if not version or version.startswith('W/'):   # If-Range compares strongly, so weak tags cannot serve
        version = answer.headers.get('Last-Modified') or ''
    length = answer.headers.get('Content-Length')
    length = int(length) if length and length.isdigit() else None
    if answer.status != 206:
        if have:
            tqdm.write('the server sends the file from its start: starting over')
        _restart(file)
        return length, version
    start, size = _content_range(answer.headers.get('Content-Range'))
    if start != have or size != known['size'] or (version and known['version'] and version != known['version']):
        _restart(file)
        raise _InterruptedError('the server offers another range or version than was asked for; starting over')
    return size, known['version']


def _content_range(text):
    """(first byte, size of the whole) of `bytes 5-9/10`; Nones where untold."""
    unit, _, rest = (text or '').partition(' ')
    place, _, size = rest.partition('/')
    start = place.partition('-')[0]
    return (int(start) if unit == 'bytes' and start.isdigit() else None), int(size) if size.isdigit() else None


def _refused(error, url, file, known):
    if error.code == 416:   # nothing lies beyond what we have: whole, or bytes of another file
        size = _content_range(error.headers.get('Content-Range'))[1]
        if known and file.tell() == known['size'] and size in (None, known['size']):
            return
        _restart(file)
        raise _InterruptedError('the server has fewer bytes than expected; starting over')
    if error.code in _LATER:
        raise _InterruptedError('the server answers %d %s' % (error.code, error.reason))
    raise UserError('%s: the server answers %d %s; check the address, or give a mirror with --base_url'
                    % (url, error.code, error.reason))


def _copy(answer, file, progress):
    while True:
        data = answer.read(_CHUNK)
        if not data:
            return
        file.write(data)
        file.flush()   # so that tell() and the file agree whenever we are stopped
        progress.update(len(data))


def _check_room(file, size):
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(file.name))).free
    if size is not None and size - file.tell() > free:
        raise UserError('%s: %.1f GB are still to come but only %.1f GB are free; make room and start again: it '
                        'continues' % (file.name, (size - file.tell()) / 1e9, free / 1e9))


def _restart(file):
    file.seek(0)
    file.truncate()
    return 0


def _read_note(path, url):
    """The note beside a partial file: {'url', 'size', 'version'}; None if missing, damaged or of another address."""
    try:
        with open(path, encoding='utf-8') as file:
            note = json.load(file)
        return note if note['url'] == url and {'size', 'version'} <= set(note) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
