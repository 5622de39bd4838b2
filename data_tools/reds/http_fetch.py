"""Downloads one large file over HTTP, complete or not at all. Resumes and retries requests; trusts no answer."""
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
from data_tools.base.progress import progress_bar

MAX_BYTES = 256 << 30   # of a file; the largest archive of REDS has 34 GB
_CHUNK = 1 << 20
_LATER = (408, 425, 429, 500, 502, 503, 504)   # HTTP statuses that may be gone at the next attempt
_LONGEST_WAIT = 60.                            # seconds
_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS)


class _InterruptedError(Exception):
    """The transfer stopped in a way that another attempt may fix; the text says how."""


class _Note(typing.NamedTuple):
    """The provenance of the bytes in a partial file, kept in a file beside it.

    Attributes:
      url: of the file.
      size: of the complete file, bytes.
      version: ETag or Last-Modified, '' for none.
    """
    url: str
    size: int
    version: str


def fetch(url: str, path: str, retries: int = 8, wait: float = 1., timeout: float = 60.) -> None:
    """Downloads `url` to `path`, continuing where an earlier call (or process) stopped.

    Bytes gather in `path`.partial; `path`.partial.json notes the size and the version (ETag or Last-Modified) that they
    belong to. The file starts over if the server ignores ranges, serves another version, or sends more bytes than it
    declares. The caller has to keep other processes from downloading to the same path.

    Args:
      url: of the file.
      path: the final name; it appears only when all bytes are there. If it exists, nothing is requested.
      retries: attempts in a row without a single new byte before giving up.
      wait: seconds before the second attempt; doubled for each further one.
      timeout: seconds without an answer or data before an attempt is given up.
    Raises:
      UserError: the server refuses (404, ...) or declares no length, the attempts are used up, the file is larger than
        MAX_BYTES, or the disk is full.
    """
    if os.path.exists(path):
        return
    files.make_dir(os.path.dirname(os.path.abspath(path)))
    partial = path + files.PARTIAL
    note = partial + '.json'
    with files.explained(partial), open(partial, 'ab') as file:
        with progress_bar(unit='B', unit_scale=True, unit_divisor=1024, desc=os.path.basename(path)) as progress:
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
    """Makes one request; returns when the file is complete, raises _InterruptedError when more has to come."""
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
            known = _accept(answer, url, file, have, known)
            files.write_json(note, known._asdict())
            progress.total, progress.n = known.size, file.tell()
            progress.refresh()
            _check_size(file, known.size)
            _copy(answer, file, known.size, progress)
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
    if file.tell() < known.size:
        raise _InterruptedError('the connection ended after %d of %d bytes' % (file.tell(), known.size))


def _accept(answer, url, file, have, known):
    """Moves the end of the file to where the body of the answer starts. Returns the _Note of the complete file."""
    headers, version = answer.headers, _version(answer.headers)
    length, coding = _number(headers.get('Content-Length')), headers.get('Content-Encoding') or 'identity'
    if answer.status not in (200, 206) or coding != 'identity':
        raise _InterruptedError('the server answers %d with encoding %s, not the file' % (answer.status, coding))
    if answer.status == 200:
        if length is None:   # the end of the body would say nothing, and it may never come
            raise UserError('%s: the server declares no length, so a cut file could not be recognised: give a mirror '
                            'with --base_url' % url)
        if have:
            tqdm.write('the server sends the file from its start: starting over')
        _restart(file)
        return _Note(url, length, version)
    start, end, size = _content_range(headers.get('Content-Range'))
    if (not have or start is None or start != have or (end, size) != (known.size, known.size)
            or length not in (None, end - start) or (version and known.version and version != known.version)):
        _restart(file)
        raise _InterruptedError('the server sent another range or version than requested; starting over')
    return known


def _number(text):
    """Returns a number of bytes from a header, None for an absent one. `int` alone accepts '1_0', `isdigit` a '²'."""
    if text is None:
        return None
    if not re.match(r'[0-9]{1,18}\Z', text):
        raise _InterruptedError('the server sends the number %.40r' % text)
    return int(text)


def _content_range(text):
    """Returns (5, 10, 10), the first byte, end and size of the whole, for `bytes 5-9/10`; (None, None, 10) for
    `bytes */10`; three None for any other text."""
    match = re.match(r'bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})\Z', text or '')
    first, last, size = (None if digits is None else int(digits) for digits in match.groups()) if match else (None,) * 3
    if first is None or last is None or size is None:
        return None, None, size
    return (first, last + 1, size) if first <= last < size else (None,) * 3


def _version(headers):
    """Returns the value for `If-Range`: a strong ETag, else Last-Modified, else ''."""
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
    """Writes the body, up to `end` bytes of the file."""
    for data in iter(lambda: answer.read(_CHUNK), b''):
        if file.tell() + len(data) > end:
            _restart(file)
            raise _InterruptedError('the server sends more than the %d bytes it declares; starting over' % end)
        file.write(data)
        file.flush()   # so that tell() and the file agree whenever the process is stopped
        progress.update(len(data))


def _check_size(file, size):
    """Raises UserError if the file may not, or cannot, grow to `size` bytes."""
    if size > MAX_BYTES:
        _restart(file)
        raise UserError('%s: the server sends %.1f GB; the limit is %.1f GB: check the address'
                        % (file.name, size / 1e9, MAX_BYTES / 1e9))
    missing, free = size - file.tell(), shutil.disk_usage(os.path.dirname(os.path.abspath(file.name))).free
    if missing > free:
        raise UserError('%s: %.1f GB are still to come but only %.1f GB are free; free some space and start again: it '
                        'continues' % (file.name, missing / 1e9, free / 1e9))


def _restart(file):
    file.seek(0)
    file.truncate()
    return 0


def _read_note(path, url):
    """Returns the _Note beside a partial file; None if it is missing, damaged or of another address."""
    try:
        with open(path, encoding='utf-8') as file:
            note = _Note(**json.load(file))
        valid = (note.url == url and isinstance(note.version, str) and _is_header_text(note.version)
                 and type(note.size) is int and note.size >= 0)
        return note if valid else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
