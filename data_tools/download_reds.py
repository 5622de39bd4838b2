"""Downloads REDS (CC BY 4.0, seungjunnah.github.io/Datasets/reds) and unpacks it.

    python -m data_tools.download_reds --root_dir=reds --train_sharp --train_sharp_bicubic --val_sharp \\
        --val_sharp_bicubic

Stop it whenever you like and start it again: it goes on where it stopped, with downloading and with unpacking.
Archives gather in ROOT/downloads; the frames land in ROOT/train/train_sharp/000/00000000.png and so on.
Archives are removed once unpacked (--keep_zips keeps them) and a note ROOT/downloads/NAME.done stays in their place.
For REDS x4 training you need the four subsets above: about 40 GB to download, as much again while unpacking.
"""
import hashlib
import os
import re

from absl import flags
from tqdm import tqdm

from data_tools import cli
from data_tools.files import write_bytes
from data_tools.http_fetch import fetch
from data_tools.unzip import DamagedError, check, unzip

FLAGS = flags.FLAGS
# The dataset's author publishes it here; the older server of his laboratory has the same names and is a mirror:
# http://data.cv.snu.ac.kr:8008/webdav/dataset/REDS
BASE_URL = 'https://huggingface.co/datasets/snah/REDS/resolve/main'
SUBSETS = {
    'train_sharp': 'GT, 240 clips', 'train_sharp_bicubic': 'LQ of train_sharp, x4',
    'train_blur': 'train_sharp with motion blur', 'train_blur_bicubic': 'LQ of train_blur, x4',
    'train_blur_comp': 'train_blur with compression',
    'val_sharp': 'GT, 30 clips', 'val_sharp_bicubic': 'LQ of val_sharp, x4',
    'val_blur': 'val_sharp with motion blur', 'val_blur_bicubic': 'LQ of val_blur, x4',
    'val_blur_comp': 'val_blur with compression',
    'test_sharp_bicubic': 'LQ of the test clips, whose GT is not public', 'test_blur': 'test clips with motion blur',
    'test_blur_bicubic': 'LQ of test_blur, x4', 'test_blur_comp': 'test_blur with compression',
}
_DIGESTS = {32: hashlib.md5, 64: hashlib.sha256}   # by the length of their hexadecimal text


def get_subset(name, root_dir, base_url=BASE_URL, checksums=None, keep_zip=False, unpack=True, retries=8, wait=1.,
               timeout=60.):
    """Downloads and unpacks one archive; what is done already is not done again.

    Args:
      name: str, one of SUBSETS.
      root_dir: str, folder to unpack into; archives lie in its `downloads`.
      base_url: str, where NAME.zip lies.
      checksums: {file name: hexadecimal MD5 or SHA-256} as `read_checksums` gives, or None.
      keep_zip, unpack: bool.
      retries, wait, timeout: see `http_fetch.fetch`.
    Raises:
      cli.UserError: the download fails, or the archive is damaged (then it is set aside, so that the next run is new).
    """
    archive = os.path.join(root_dir, 'downloads', name + '.zip')
    done = os.path.join(root_dir, 'downloads', name + '.done')
    if os.path.exists(done):
        print('%s: done before (remove %s to do it again)' % (name, done), flush=True)
        return
    fetch('%s/%s.zip' % (base_url.rstrip('/'), name), archive, retries, wait, timeout)
    _verify(archive, (checksums or {}).get(name + '.zip'))
    try:
        count = unzip(archive, root_dir) if unpack else check(archive)
    except DamagedError as error:
        _set_aside(archive, error)
    if not unpack:
        print('%s: %s is whole' % (name, archive), flush=True)
        return
    write_bytes(done, b'%d files unpacked\n' % count)
    if not keep_zip:
        os.remove(archive)
    print('%s: %d files in %s' % (name, count, root_dir), flush=True)


def _set_aside(archive, reason):
    os.replace(archive, archive + '.damaged')
    raise cli.UserError('%s; it was renamed to %s.damaged: start again to download it anew'
                        % (reason, os.path.basename(archive))) from None


def read_checksums(path):
    """{file name: hexadecimal digest} from lines as `sha256sum` and `md5sum` write them."""
    try:
        with open(path, encoding='utf-8') as file:
            lines = [line.strip() for line in file if line.strip() and not line.startswith('#')]
    except (OSError, UnicodeDecodeError) as error:
        raise cli.UserError('cannot read --checksums=%s: %s' % (path, error)) from None
    digests = {}
    for line in lines:
        match = re.match(r'^([0-9a-fA-F]+)\s+\*?(\S.*)$', line)
        if not match or len(match.group(1)) not in _DIGESTS:
            raise cli.UserError('--checksums=%s: %r is not "digest  file name" with an MD5 (32 digits) or SHA-256 (64 '
                                'digits)' % (path, line))
        digests[os.path.basename(match.group(2))] = match.group(1).lower()
    return digests


def _verify(archive, expected):
    if expected is None:
        return
    digest = _DIGESTS[len(expected)]()
    with open(archive, 'rb') as file, tqdm(total=os.path.getsize(archive), unit='B', unit_scale=True,
                                           desc='checksum ' + os.path.basename(archive)) as progress:
        for data in iter(lambda: file.read(1 << 22), b''):
            digest.update(data)
            progress.update(len(data))
    if digest.hexdigest() != expected:
        _set_aside(archive, '%s has checksum %s but should have %s' % (archive, digest.hexdigest(), expected))


def main():
    names = [name for name in SUBSETS if FLAGS.all or FLAGS[name].value]
    if not FLAGS.root_dir:
        raise cli.UserError('--root_dir is missing: the folder to download to')
    if not names:
        raise cli.UserError('nothing to download: name subsets as --train_sharp --train_sharp_bicubic (see --help), or '
                            'take --all')
    if not re.match(r'https?://[^/]', FLAGS.base_url):
        raise cli.UserError('--base_url=%s: it must begin with http:// or https://' % FLAGS.base_url)
    checksums = read_checksums(FLAGS.checksums) if FLAGS.checksums else None
    failed = []
    for name in names:
        try:
            get_subset(name, FLAGS.root_dir, FLAGS.base_url, checksums, FLAGS.keep_zips, FLAGS.unzip, FLAGS.retries,
                       timeout=FLAGS.timeout)
        except cli.UserError as error:   # the others may still be had
            print('%s: %s' % (name, error), flush=True)
            failed.append(name)
    if failed:
        raise cli.UserError('%d of %d subsets are missing: %s; the reasons are above. Start again to continue'
                            % (len(failed), len(names), ', '.join(failed)))


def define_flags():
    flags.DEFINE_string('root_dir', None, 'folder to download and unpack to')
    flags.DEFINE_bool('all', False, 'every subset listed here')
    for name, text in SUBSETS.items():
        flags.DEFINE_bool(name, False, text)
    flags.DEFINE_string('base_url', BASE_URL, 'where the archives NAME.zip lie; another for a mirror')
    flags.DEFINE_string('checksums', None, 'file of lines "digest  NAME.zip" (sha256sum, md5sum) to check against')
    flags.DEFINE_bool('unzip', True, 'unpack; otherwise only download and check the archives')
    flags.DEFINE_bool('keep_zips', False, 'keep the archives after unpacking')
    flags.DEFINE_integer('retries', 8, 'tries in a row without a new byte before giving up', lower_bound=1)
    flags.DEFINE_float('timeout', 60., 'seconds without data before a try is given up', lower_bound=.1)


if __name__ == '__main__':
    define_flags()
    cli.run(main)
