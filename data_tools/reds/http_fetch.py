"""Downloads one large file over HTTP, whole or not at all. Requests are resumed and retried; no answer is trusted."""
import errno
import http.client
import json
import os
import re
import shutil
import time
import typing
import urllib.error
import urllib.request

from tqdm import tqdm

from data_tools.base import files
from data_tools.base.errors import UserError

MAX_BYTES = 256 << 30   # of a file; the largest archive of REDS has 34 GB
RESERVE = 256 << 20     # bytes of the disk that stay free while a body of unknown length arrives

_CHUNK = 1 << 20
_LATER = (408, 425, 429, 500, 502, 503, 504)   # HTTP statuses that may be gone at the next attempt
_LONGEST_WAIT = 60.                            # seconds
_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)


class _InterruptedError(Exception):
    """The transfer stopped in a way that another attempt may fix; the text says how."""


class _Note(typing.NamedTuple):
    """The origin of the bytes in a partial file, kept in a file beside it."""
    url: str
    size: typing.Optional[int]   # of the whole file; None if the server does not declare it
    version: str                 # ETag or Last-Modified, '' for none


def fetch(url, path, retries=8, wait=1., timeout=60.):
    """Downloads `url` to `path`, continuing where an earlier call (or process) stopped.

    Bytes gather in `path`.partial; `path`.partial.json notes the size and the version (ETag or Last-Modified) that they
    belong to. The file starts over if the server ignores ranges, serves another version, or sends more bytes than it
    declares. The caller has to keep other processes from downloading to the same path.

    Args:
      url: str.
      path: str, the final name; it appears only when all bytes are there. An existing file is returned at once.
      retries: int, attempts in a row without a single new byte before giving up.
      wait: float, seconds before the second attempt; doubled for each further one.
      timeout: float, seconds without an answer or data before an attempt is given up.
    Raises:
      UserError: the server refuses (404, ...), the attempts are used up, the file is larger than MAX_BYTES, or the disk
        is full.
    """
    if os.path.exists(path):
        return
    files.make_dir(os.path.dirname(os.path.abspath(path)))
    partial = path + files.PARTIAL
    note = partial + '.json'
    with files.explained(partial), open(partial, 'ab') as file:
        with tqdm(unit='B', unit_scale=True, unit_divisor=1024, desc=os.path.basename(path)) as progress:
            _fetch_all(url, file, note, progress, retries, wait, timeout)
        file.flush()
        os.fsync(file.fileno())
        os.replace(partial, path)
    files.remove(note)


def _fetch_all(url, file, note, progress, retries, wait, timeout):
    failures, best = 0, file.tell()
    while True:
        try:
            _fetch_once(url, file, note, progress, timeout)
            return
        except _InterruptedError as trouble:
            # only bytes never received before are progress: a server that makes us start over must not hold us forever
            failures, best = 1 if file.tell() > best else failures + 1, max(best, file.tell())
            if failures > retries:
                raise UserError('%s: %s, after %d tries without progress; %d bytes are kept: start again later to '
                                'continue, or give a mirror with --base_url' % (url, trouble, failures, file.tell())
                                ) from None
            seconds = min(_LONGEST_WAIT, wait * 2 ** (failures - 1))
            tqdm.write('%s: %s; trying again in %.0f s' % (os.path.basename(url), trouble, seconds))
            time.sleep(seconds)


def _fetch_once(url, file, note, progress, timeout):
    """One request; returns when the file is whole, raises _InterruptedError when more has to come."""
    known, have = _read_note(note, url), file.tell()
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'edvr-download/1'}
    if have and known is None:
        have = _restart(file)   # bytes of unknown origin
    if have:
        headers['Range'] = 'bytes=%d-' % have
        if known.version:
            headers['If-Range'] = known.version
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            known, end = _accept(answer, url, file, have, known)
            files.write_json(note, known._asdict())
            progress.total, progress.n = known.size, file.tell()
            progress.refresh()
            _check_size(file, known.size)
            _copy(answer, file, end, progress)
    except urllib.error.HTTPError as error:
        _refused(error, url, file, known)
        return
    except ValueError as error:   # of urllib, for addresses: also those to which the server redirects
        raise UserError('%s, or where its server redirects, is not an address (%s): give another --base_url'
                        % (url, error)) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _InterruptedError(str(getattr(error, 'reason', None) or error or type(error).__name__)) from None
    except OSError as error:
        # reading from a socket can time out with a bare OSError; writing to the disk fails with these
        if error.errno in _LOCAL_ERRORS:
            raise
        raise _InterruptedError(str(error)) from None
    if known.size is not None and file.tell() < known.size:
        raise _InterruptedError('the connection ended after %d of %d bytes' % (file.tell(), known.size))


def _accept(answer, url, file, have, known):
    """Brings the file to where the answer's body starts.

    Returns:
      (_Note of the whole file, number of bytes the file has after this body or None if the server does not declare it).
    """
    headers = answer.headers
    length, coding = _number(headers.get('Content-Length')), headers.get('Content-Encoding') or 'identity'
    if answer.status not in (200, 206) or coding != 'identity':
        raise _InterruptedError('the server answers %d with encoding %s, not the file' % (answer.status, coding))
    if answer.status == 200:
        if have:
            tqdm.write('the server sends the file from its start: starting over')
        _restart(file)
        return _Note(url, length, _version(headers)), length
    start, end, size = _content_range(headers.get('Content-Range'))
    version = _version(headers)
    if (not have or start != have or size is None or size != known.size or length not in (None, end - start)
            or (version and known.version and version != known.version)):
        _restart(file)
        raise _InterruptedError('the server sent another range or version than requested; starting over')
    return known, end


def _number(text):
    """A number of bytes from a header; None for an absent one. `int` alone would take '1_0', and `isdigit` a '²'."""
    if text is None:
        return None
    if not re.match(r'[0-9]{1,18}\Z', text):
        raise _InterruptedError('the server sends the number %.40r' % text)
    return int(text)


def _content_range(text):
    """(first byte, end, size of the whole) of `bytes 5-9/10`, which is (5, 10, 10); of `bytes */10` the size alone."""
    match = re.match(r'bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})\Z', text or '')
    if not match:
        return None, None, None
    first, last, size = (None if digits is None else int(digits) for digits in match.groups())
    if first is not None and not first <= last < size:
        return None, None, None
    return first, None if last is None else last + 1, size


def _version(headers):
    """The value for `If-Range`: a strong ETag, else Last-Modified, else ''."""
    tag = headers.get('ETag') or ''
    text = headers.get('Last-Modified') or '' if not tag or tag.startswith('W/') else tag
    return text if _is_header_text(text) else ''


def _is_header_text(text):
    return re.match(r'[ -~]{0,500}\Z', text) is not None


def _refused(error, url, file, known):
    if error.code == 416:   # nothing lies beyond what is here: whole, or bytes of another file
        size = _content_range(error.headers.get('Content-Range'))[2]
        if known and file.tell() == known.size and size in (None, known.size):
            return
        _restart(file)
        raise _InterruptedError('the server has fewer bytes than expected; starting over')
    if error.code in _LATER:
        raise _InterruptedError('the server answers %d %s' % (error.code, error.reason))
    raise UserError('%s: the server answers %d %s; check the address, or give a mirror with --base_url'
                    % (url, error.code, error.reason))


def _copy(answer, file, end, progress):
    """Writes the body, up to `end` bytes of the file; an `end` of None leaves RESERVE bytes of the disk free."""
    while True:
        data = answer.read(_CHUNK)
        if not data:
            return
        if end is not None and file.tell() + len(data) > end:
            _restart(file)
            raise _InterruptedError('the server sends more than the %d bytes it declares; starting over' % end)
        if end is None:
            _check_size(file, file.tell() + len(data), RESERVE)
        file.write(data)
        file.flush()   # so that tell() and the file agree whenever the process is stopped
        progress.update(len(data))


def _check_size(file, size, reserve=0):
    """Raises UserError if the file may not, or cannot, grow to `size` bytes (None: unknown)."""
    if size is None:
        return
    if size > MAX_BYTES:
        _restart(file)
        raise UserError('%s: the server sends %.1f GB or more; the limit is %.1f GB: check the address'
                        % (file.name, size / 1e9, MAX_BYTES / 1e9))
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(file.name))).free
    if size - file.tell() + reserve > free:
        raise UserError('%s: %.1f GB are still to come but only %.1f GB are free; free some space and start again: it '
                        'continues' % (file.name, (size - file.tell()) / 1e9, free / 1e9))


def _restart(file):
    file.seek(0)
    file.truncate()
    return 0


def _read_note(path, url):
    """The _Note beside a partial file; None if it is missing, damaged or of another address."""
    try:
        with open(path, encoding='utf-8') as file:
            note = _Note(**json.load(file))
        sound = (note.url == url and isinstance(note.version, str) and _is_header_text(note.version)
                 and (note.size is None or (type(note.size) is int and note.size >= 0)))
        return note if sound else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
