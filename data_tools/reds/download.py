"""Downloads and unpacks the archives of REDS; skips finished archives."""
import hashlib
import os
import re
from typing import Dict, Optional

from data_tools.base import files, lock
from data_tools.base.errors import UserError
from data_tools.base.paths import check_no_samples
from data_tools.base.progress import progress_bar
from data_tools.reds.config import BASE_URL, DownloadConfig
from data_tools.reds.http_fetch import fetch
from data_tools.reds.unzip import DamagedError, check, unzip

_DIGESTS = {32: hashlib.md5, 64: hashlib.sha256}   # by the length of their hexadecimal text


def get_subset(name: str, root_dir: str, base_url: str = BASE_URL, checksums: Optional[Dict[str, str]] = None,
               keep_zip: bool = False, unpack: bool = True, retries: int = 8, wait: float = 1.,
               timeout: float = 60.) -> None:
    """Downloads and unpacks one archive, unless that is done.

    Args:
      name: of an archive: a field of DownloadConfig.
      root_dir: folder to unpack into; archives lie in its `downloads`.
      base_url: address of the folder of NAME.zip.
      checksums: {file name: hexadecimal MD5 or SHA-256} as `read_checksums` gives, with this archive; None checks none.
      keep_zip: whether the archive stays after unpacking.
      unpack: False only downloads and checks the archive.
      retries: attempts without progress before giving up.
      wait: seconds before the first retry.
      timeout: seconds without data after which a connection counts as lost.
    Raises:
      UserError: `checksums` lacks the archive, another process works on it, the download fails, or the archive is
        damaged (then it is renamed, so that the next run downloads it again).
    """
    if checksums is not None:
        _check_listed([name], checksums, 'checksums')
    folder = os.path.join(root_dir, 'downloads')
    archive, done = (os.path.join(folder, name + suffix) for suffix in ('.zip', '.done'))
    files.make_dir(folder)
    with lock.hold(os.path.join(folder, name + '.lock'), archive, '--root_dir'):
        if os.path.exists(done):
            print('%s: done before (remove %s to do it again)' % (name, done), flush=True)
            return
        fetch('%s/%s.zip' % (base_url.rstrip('/'), name), archive, retries, wait, timeout)
        if checksums is not None:
            _verify(archive, checksums[name + '.zip'])
        try:
            count = unzip(archive, root_dir, _folders(name)) if unpack else check(archive)
        except DamagedError as error:
            _set_aside(archive, error)
        if not count:   # nothing is done
            _set_aside(archive, '%s contains no files' % archive)
        if not unpack:
            print('%s: %s is complete' % (name, archive), flush=True)
            return
        os.sync()   # the note must not reach the disk before the frames
        files.write_bytes(done, b'%d files unpacked\n' % count)
        if not keep_zip:
            os.remove(archive)
        print('%s: %d files in %s' % (name, count, root_dir), flush=True)


def _folders(name):
    """Returns the folders that the archive of a subset may write to: in its part (train, val, test), or without."""
    return ('%s/%s' % (name.partition('_')[0], name), name)


def _set_aside(archive, reason):
    os.replace(archive, archive + '.damaged')
    raise UserError('%s; it was renamed to %s.damaged: start again to download it again'
                    % (reason, os.path.basename(archive))) from None


def read_checksums(path: str) -> Dict[str, str]:
    """Reads {file name: hexadecimal digest} from lines as `sha256sum` and `md5sum` write them."""
    try:
        lines = [line.strip() for line in files.read_text(path).split('\n')
                 if line.strip() and not line.startswith('#')]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('cannot read --checksums=%s: %s' % (path, error)) from None
    digests = {}
    for line in lines:
        match = re.match(r'^([0-9a-fA-F]+)\s+\*?(\S.*)$', line)
        if not match or len(match.group(1)) not in _DIGESTS:
            raise UserError('--checksums=%s: %r is not "digest  file name" with an MD5 (32 digits) or SHA-256 (64 '
                            'digits)' % (path, line))
        digests[os.path.basename(match.group(2))] = match.group(1).lower()
    return digests


def _check_listed(names, checksums, source):
    """Raises UserError if an archive has no checksum: it would be taken unchecked."""
    missing = ['%s.zip' % name for name in names if name + '.zip' not in checksums]
    if missing:
        raise UserError('%s has no line for %s; it lists %s: add "digest  %s", or download what it lacks without '
                        '--checksums' % (source, ', '.join(missing), ', '.join(sorted(checksums)[:8]) or 'nothing',
                                         missing[0]))


def _verify(archive, expected):
    digest = _DIGESTS[len(expected)]()
    with open(archive, 'rb') as file, progress_bar(total=os.path.getsize(archive), unit='B', unit_scale=True,
                                                   desc='checksum ' + os.path.basename(archive)) as progress:
        for data in iter(lambda: file.read(1 << 22), b''):
            digest.update(data)
            progress.update(len(data))
    if digest.hexdigest() != expected:
        _set_aside(archive, '%s has checksum %s but should have %s' % (archive, digest.hexdigest(), expected))


def get_subsets(config: DownloadConfig) -> None:
    """Downloads the archives that a config names.

    Raises:
      UserError: a folder of sample clips, which must not be mixed with REDS; an archive without a checksum although
        there is a file of them; or the names of the subsets that are missing, after all have been tried.
    """
    check_no_samples(config.root_dir)
    checksums = read_checksums(config.checksums) if config.checksums else None
    if checksums is not None:
        _check_listed(config.subsets, checksums, '--checksums=' + config.checksums)
    failed = []
    for name in config.subsets:
        try:
            get_subset(name, config.root_dir, config.base_url, checksums, config.keep_zips, config.unzip,
                       config.retries, timeout=config.timeout)
        except UserError as error:   # the others may succeed
            print('%s: %s' % (name, error), flush=True)
            failed.append(name)
    if failed:
        raise UserError('%d of %d subsets are missing: %s; the reasons are above. Start again to continue'
                        % (len(failed), len(config.subsets), ', '.join(failed)))
