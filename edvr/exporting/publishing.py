"""Replaces the files of an export by new ones: a reader finds the old export or the new one, and never a mixture.

The new files are written to a folder beside their destination. Moving the description is what replaces the export: from
then on a reader who finds another graph than the description names takes the one in the folder (`description.read`).
"""
import contextlib
import glob
import os
import shutil
import sys
import tempfile
import typing

from data_tools.base import files, lock
from data_tools.base.errors import UserError
from edvr.exporting.description import DRAFT, Files

_LOCK = 'lock'   # in the folder of a draft, held while it is written


class UnfinishedError(UserError):
    """Moving failed, and so did undoing it; the folder of the draft has to stay."""


def check_destination(path: str, folder: bool) -> None:
    """Raises UserError if a path holds something other than a file, or than a SavedModel if `folder` is true."""
    if not folder and os.path.isdir(path):
        raise UserError('%s is a folder: give the name of a file' % path)
    if folder and os.path.exists(path) and not os.path.isfile(os.path.join(path, 'saved_model.pb')):
        raise UserError('%s exists and is not a SavedModel: give another --output' % path)
    files.make_dir(os.path.dirname(path) or '.')


@contextlib.contextmanager
def draft_folder(destination: str) -> typing.Iterator[str]:
    """Yields a temporary folder for the new files, in a temporary folder beside the destination."""
    with files.explained(destination):
        folder = tempfile.mkdtemp(prefix=DRAFT, dir=os.path.dirname(destination) or '.')
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(UserError):   # a file system without locks
                stack.enter_context(lock.hold(os.path.join(folder, _LOCK), destination, '--output'))
            with files.explained(destination):
                os.mkdir(os.path.join(folder, 'new'))
            yield os.path.join(folder, 'new')
    finally:
        if not isinstance(sys.exc_info()[1], UnfinishedError):
            shutil.rmtree(folder, ignore_errors=True)


def publish(draft: Files, destination: Files) -> None:
    """Moves verified files to their destinations; if a move fails, all files that were there are put back.

    Then drafts of the same destination that killed processes left are removed.

    The folder of a SavedModel is exchanged with the old one. On a file system that cannot do that it is moved in two
    steps: a process that is killed between them leaves the old one in the folder beside.

    Args:
      draft: in a `draft_folder`.
      destination: the same files, in the folder that the draft lies beside.
    Raises:
      UserError: a file cannot be moved; the old export is as it was.
      UnfinishedError: the old export cannot be put back either; the text names the folder with all files.
    """
    kept = os.path.join(os.path.dirname(os.path.dirname(draft.graphs[0])), 'old')
    with files.explained(destination.graphs[0]):
        os.mkdir(kept)
        moves = [(new, final, os.path.join(kept, os.path.basename(final)))
                 for new, final in zip(draft.entries, destination.entries)]
        for _, final, old in moves:
            if os.path.isfile(final):
                shutil.copy2(final, old)
        try:
            for move in moves:
                _move(*move)
        except BaseException:
            try:
                for move in moves:
                    _put_back(*move)
            except OSError as error:
                raise UnfinishedError('%s cannot be replaced or put back (%s): the files of both exports are in %s'
                                      % (destination.graphs[0], error.strerror, os.path.dirname(kept))) from error
            raise
    _remove_left(destination.entries)


def _remove_left(entries: typing.Sequence[str]) -> None:
    """Removes drafts in which no process works and which hold no other files than those of these destinations."""
    ours = {os.path.basename(entry) for entry in entries}
    for folder in glob.glob(os.path.join(glob.escape(os.path.dirname(entries[0])), DRAFT + '*')):
        names = {name for part in ('new', 'old') for name in files.listing(os.path.join(folder, part))}
        if names <= ours and os.path.isdir(os.path.join(folder, 'new')):   # it is made after the lock
            with contextlib.suppress(UserError):   # a file system without locks: it may be in use
                if lock.holder(os.path.join(folder, _LOCK)) is None:
                    shutil.rmtree(folder, ignore_errors=True)


def _move(new: str, final: str, old: str) -> None:
    if os.path.isdir(final):   # a folder with content cannot be replaced
        if files.exchange(new, final):
            return
        os.replace(final, old)
    os.replace(new, final)


def _put_back(new: str, final: str, old: str) -> None:
    if not os.path.lexists(new) and (os.path.isdir(final) or not os.path.lexists(old)):
        os.replace(final, new)
    if os.path.lexists(old):
        os.replace(old, final)
