"""Replaces the files of an export by new ones: a reader finds the old export or the new one, and never a mixture.

The new files are written to a folder beside their destination. Moving the description is what replaces the export: from
then on a reader who finds another graph than the description names takes the one in the folder (`description.read`).
"""
import contextlib
import os
import shutil
import sys
import tempfile
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.exporting.description import DRAFT, Files


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
        os.mkdir(os.path.join(folder, 'new'))
    try:
        yield os.path.join(folder, 'new')
    finally:
        if not isinstance(sys.exc_info()[1], UnfinishedError):
            shutil.rmtree(folder, ignore_errors=True)


def publish(draft: Files, destination: Files) -> None:
    """Moves verified files to their destinations; if a move fails, all files that were there are put back.

    A SavedModel is moved as a folder, in two steps: a process that is killed between them leaves the old one in the
    folder beside.

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
            for new, final, old in moves:
                if os.path.isdir(final):   # cannot be replaced in one step
                    os.replace(final, old)
                os.replace(new, final)
        except BaseException:
            try:
                for move in moves:
                    _put_back(*move)
            except OSError as error:
                raise UnfinishedError('%s cannot be replaced or put back (%s): the files of both exports are in %s'
                                      % (destination.graphs[0], error.strerror, os.path.dirname(kept))) from error
            raise


def _put_back(new: str, final: str, old: str) -> None:
    if not os.path.lexists(new) and (os.path.isdir(final) or not os.path.lexists(old)):
        os.replace(final, new)
    if os.path.lexists(old):
        os.replace(old, final)
