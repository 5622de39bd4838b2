"""Clips in an LMDB that was made for BasicSR: images by name, and meta_info.txt, which lists them.

A line of the list is `000/00000000.png (720,1280,3) 1`: the name (its key without suffix), the shape, the compression.
The folders of a name are the clip; X4 in front of them is ignored. The LMDB of Vimeo-90K with GT has only the frame in
the middle of each clip; the others are known from the LQ.
"""
import dataclasses
import functools
import os
import re
import threading
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import fingerprint
from data_tools.media.degradation import Frames
from data_tools.media.images import decode_image

if typing.TYPE_CHECKING:
    import numpy as np

SUFFIX, DATA, LIST = '.lmdb', 'data.mdb', 'meta_info.txt'
Size = typing.Tuple[int, int]   # height, width in pixels
_LINE = re.compile(r'(.+)\.\w+ \((\d+),\s*(\d+),\s*3\)(?: \d+)?$')
_READING = threading.Lock()
_HOW = 'BasicSR makes LMDB and list with scripts/data_preparation/create_lmdb.py'


def is_lmdb(path: str) -> bool:
    """Returns whether a path is the folder of an LMDB, or should be: its name ends so."""
    return os.path.isdir(path) and (os.path.isfile(os.path.join(path, DATA))
                                    or os.path.normpath(path).lower().endswith(SUFFIX))


@dataclasses.dataclass(frozen=True)
class LmdbFrames:
    """Frames of a clip in an LMDB; the attributes and methods of `frames`.

    Attributes:
      root: folder of the LMDB.
      keys: of the frames; '' for a frame that the LMDB lacks.
      file_size: of the images.
      size: of their upper left part, which is read.
    """
    root: str
    keys: typing.Tuple[str, ...]
    file_size: Size
    size: Size

    direct = True

    @property
    def length(self) -> int:
        return len(self.keys)

    @property
    def path(self) -> str:
        return os.path.join(self.root, os.path.dirname(next(filter(None, self.keys))))

    def read(self, start: int = 0) -> Frames:
        return (self.frame(index) for index in range(start, self.length))

    def frame(self, index: int) -> 'np.ndarray':
        """Reads uint8 [H, W, 3]. Raises UserError naming the frame if it is missing, damaged or of another size."""
        if not self.keys[index]:
            raise UserError('%s has no frame %d of %s; if it has only the frame in the middle of each clip, pack with '
                            '--num_frames=%d --fill=none' % (self.root, index, self.path, self.length))
        frame = decode_image(_value(self.root, self.keys[index]), self.label(index))
        if frame.shape[:2] != self.file_size:
            raise UserError('%s is %dx%d, %s says %dx%d (height x width); make the LMDB again'
                            % ((self.label(index),) + frame.shape[:2] + (LIST,) + self.file_size))
        return frame[:self.size[0], :self.size[1]]

    def name(self, index: int) -> str:
        return os.path.basename(self.keys[index]) or '%08d' % index

    def label(self, index: int) -> str:
        return '%s in %s' % (self.keys[index] or 'frame %d' % index, self.root)

    def stretch(self, first: int, end: int) -> 'LmdbFrames':
        return dataclasses.replace(self, keys=self.keys[first:end])

    def cropped(self, size: Size) -> 'LmdbFrames':
        return dataclasses.replace(self, size=size)

    def fingerprint(self) -> str:
        return fingerprint.combined('%s %s' % (key, fingerprint.of_value(_value(self.root, key)))
                                    for key in self.keys if key)

    def at(self, other: 'LmdbFrames') -> 'LmdbFrames':
        """Returns the frames in the order of those of another LMDB, '' for each that this one lacks.

        Raises:
          UserError: the other one lacks frames of this one.
        """
        known = {_plain(key): key for key in self.keys}
        lacking = sorted(set(known) - {_plain(key) for key in other.keys}, key=_natural)
        if lacking:
            raise UserError('%s has no frame %s, which is in %s (%d of %d frames of the clip); make both LMDBs of the '
                            'same frames' % (other.root, lacking[0], self.root, len(lacking), len(known)))
        return dataclasses.replace(self, keys=tuple(known.get(_plain(key), '') for key in other.keys))


def clip_at(path: str) -> typing.Optional[LmdbFrames]:
    """Returns the frames whose `path` it is; None if that is in no LMDB."""
    root = path
    while root != os.path.dirname(root):
        root = os.path.dirname(root)
        if is_lmdb(root):
            return next((frames for frames in find(root).values() if frames.path == path), None)
    return None


def find(root: str) -> typing.Dict[str, LmdbFrames]:
    """Returns {name of the clip: its frames} of an LMDB, from its list alone.

    Raises:
      UserError: the list is missing, empty or of another form, or a clip has images of two sizes.
    """
    path = os.path.join(root, LIST)
    stamp = os.stat(path).st_mtime_ns if os.path.isfile(path) else 0
    return _find(root, path, stamp)


@functools.lru_cache(maxsize=4)
def _find(root, path, stamp):
    """Returns `find`; the list of REDS has 27,000 lines, and each clip asks for it."""
    del stamp
    try:
        lines = [line.strip() for line in files.read_text(path).split('\n') if line.strip()]
    except FileNotFoundError:
        raise UserError('%s has no %s, which lists its images: copy it beside %s. %s'
                        % (root, LIST, DATA, _HOW)) from None
    except (OSError, ValueError) as error:
        raise UserError('cannot read %s: %s' % (path, error)) from None
    keys: typing.Dict[str, typing.List[str]] = {}
    sizes: typing.Dict[str, Size] = {}
    folders: typing.Dict[str, str] = {}
    known: typing.Set[str] = set()
    for number, line in enumerate(lines, 1):
        match = _LINE.match(line)
        folder = os.path.dirname(_plain(match.group(1))) if match else ''
        if not match or not folder:
            raise UserError('%s: line %d is %r; it must be a frame of a clip such as "000/00000000.png (720,1280,3) 1"'
                            % (path, number, line[:80]))
        name, size = folder.replace('/', '_'), (int(match.group(2)), int(match.group(3)))
        _check_key(match.group(1), '%s: line %d' % (path, number))
        if folders.setdefault(name, folder) != folder:
            raise UserError('%s: line %d: %s and %s would both be the clip %s: rename one of these folders in the LMDB'
                            % (path, number, folders[name], folder, name))
        if _plain(match.group(1)) in known:
            raise UserError('%s: line %d: %s occurs twice: remove one of the lines' % (path, number, match.group(1)))
        known.add(_plain(match.group(1)))
        if sizes.setdefault(name, size) != size:
            raise UserError('%s: line %d: %s is %dx%d, frames before it of its clip are %dx%d (height x width); all '
                            'frames of a clip must have one size' % ((path, number, match.group(1)) + size
                                                                     + sizes[name]))
        keys.setdefault(name, []).append(match.group(1))
    if not keys:
        raise UserError('%s lists no images; copy it again. %s' % (path, _HOW))
    return {name: LmdbFrames(root, tuple(sorted(found, key=_natural)), sizes[name], sizes[name])
            for name, found in keys.items()}


def _check_key(key, where):
    """Raises UserError for a key that cannot name a clip and a frame: both become names of written files."""
    wrong = [part for part in key.split('/') if part in ('', '.', '..') or re.search(r'[\\\0]', part)
             or part.endswith(files.PARTIAL)]
    if wrong:
        raise UserError("%s is the image %r, with the part %r; the parts between / must be names of folders and files, "
                        "not '.', '..' or empty, without backslash, and not end in %s: make the LMDB again"
                        % (where, key[:80], wrong[0][:80], files.PARTIAL))


def _plain(key):
    """Returns a key without the folder of a scale in front."""
    return re.sub(r'^X[234]/', '', key)


def _natural(key):
    return [(int(part), part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', key))]


def _value(root, key):
    """Returns the bytes of an image.

    The environment is open only while it is read: LMDB refuses to open one twice in a process, which threads would do,
    and so would a process that is forked from one that has it open. Opening it maps a file, which takes 0.1 ms.
    """
    try:
        import lmdb
    except ImportError:
        raise UserError("%s is an LMDB, and the package lmdb is not installed: pip install '.[lmdb]'" % root) from None
    try:
        with _READING, lmdb.open(root, readonly=True, lock=False, readahead=False, meminit=False) as environment, \
                environment.begin() as transaction:
            value = transaction.get(key.encode('utf-8'))
    except lmdb.Error as error:
        raise UserError('%s cannot be read as an LMDB (%s): copy its %s again' % (root, error, DATA)) from None
    if value is None:
        raise UserError('%s has no image %s, which its %s lists: copy both again' % (root, key, LIST))
    return value
