"""A folder of restored PNG frames."""
import os
import typing

import numpy as np

from data_tools.base import files
from data_tools.media.images import write_png
from edvr.output.records import check_unchanged
from edvr.restore.pixels import to_uint8
from edvr.sharing import splitting


class PngFolder:
    """A folder of restored frames that a later run can complete.

    The file RECORD in it holds the settings of the frames, so that frames of two networks never mix. Other ranges of
    frames may be added with the same settings.

    Attributes:
      missing: list of (first, end), the ranges of frames that were missing when the folder was opened.
    """

    RECORD = '.restoration.json'
    _OF_RANGE = ('first', 'frames', 'shots')   # settings that differ between ranges of one clip

    def __init__(self, folder: str, names: typing.Sequence[str], settings: typing.Mapping[str, typing.Any],
                 overwrite: bool = False, profile: bytes = b'') -> None:
        """
        Args:
          folder: made if absent.
          names: file names of all frames, without suffix.
          settings: JSON values on which the frames depend.
          overwrite: remove existing frames of these names.
          profile: the ICC profile of the frames, b'' for none.
        Raises:
          UserError: the folder cannot be written, or has frames with other settings, or some of these names with
            unknown ones.
        """
        self._profile = profile
        self.folder, self._paths = folder, [os.path.join(folder, name + '.png') for name in names]
        files.make_dir(folder)
        files.remove_partials(folder)
        record = os.path.join(folder, self.RECORD)
        if overwrite:
            for path in self._paths:
                files.remove(path)
        else:
            self._check(record, settings)
        self.missing = self.missing_between(0, len(names))
        files.write_json(record, settings)

    def missing_between(self, first: int, end: int) -> typing.List[typing.Tuple[int, int]]:
        """Returns the ranges of missing frames from `first` to `end` (not included), now: list of (first, end)."""
        return [(first + begin, first + stop)
                for begin, stop in splitting.missing(os.path.exists(path) for path in self._paths[first:end])]

    def write(self, index: int, sr: np.ndarray) -> None:
        """Writes frame number `index`, float [H, W, 3] in [0, 1]."""
        write_png(self._paths[index], to_uint8(sr), profile=self._profile)

    def _check(self, record, settings):
        present = next((path for path in self._paths if os.path.exists(path)), None)
        if present:
            check_unchanged(record, settings, 'frames', self.folder, present)
        elif os.path.exists(record) and any(name.endswith('.png') for name in files.listing(self.folder)):
            check_unchanged(record, settings, 'other frames', self.folder, ignored=self._OF_RANGE,
                            remedy='remove that folder')
