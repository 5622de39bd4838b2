"""One restoration at a time writes an output."""
import contextlib
import glob
import os
import typing

from data_tools.base import files, lock
from data_tools.base.errors import UserError

_FOLDER_LOCK = '.restoration%s.lock'


@contextlib.contextmanager
def of_folder(folder: str, part: typing.Optional[typing.Tuple[int, int]] = None) -> typing.Iterator[None]:
    """Holds the lock of a folder of frames, which is made if absent, during a `with` block.

    Args:
      folder: path.
      part: (i, n) for a run that restores part i of n; runs of other parts of the same n may hold theirs meanwhile.
    Raises:
      UserError: another run writes there; the text names it.
    """
    files.make_dir(folder)
    suffix = '-%d-of-%d' % part if part else ''
    own = os.path.join(folder, _FOLDER_LOCK % suffix)
    with lock.hold(own, folder, '--output'):
        for path in glob.glob(os.path.join(glob.escape(folder), _FOLDER_LOCK % '*')):
            allowed = part and path.endswith('-of-%d.lock' % part[1])
            name = None if path == own or allowed else lock.holder(path)
            if name:
                raise UserError('another run (%s) is writing %s: wait for it, stop it, or choose another --output'
                                % (name, folder))
        yield


def of_video(path: str) -> typing.ContextManager:
    """Holds the lock of a video file, in a folder that exists, during a `with` block. Raises as `of_folder`."""
    folder, name = os.path.split(os.path.abspath(path))
    return lock.hold(os.path.join(folder, '.%s.lock' % name), path, '--output')
