"""Options of make_sample_clips."""
import dataclasses
import re
import typing

from data_tools.base import paths
from data_tools.base.config import Config, option
from data_tools.media.clips import SCALES


@dataclasses.dataclass(frozen=True)
class SampleConfig(Config):
    """How many clips to draw, and of what size."""

    TITLE = 'sample clips'

    output_dir: str = option(paths.SOURCES, 'folder to write to; images/truth/NNN and images/blur<scale>/NNN inside',
                             shown='clips', path='output')
    num_clips: int = option(24, 'number of clips; with 21 and more all of REDS4 (000, 011, 015, 020) is among them',
                            low=1)
    num_frames: int = option(12, 'frames of each clip (REDS has 100)', low=1)
    gt_size: str = option('256x320', 'GT size in pixels, HEIGHTxWIDTH, at least 4 times --patch_size of the training; '
                          'REDS is 720x1280')
    scale: int = option(4, 'GT size / LQ size', choices=SCALES)
    seed: int = option(0, 'seed of the scenes', low=0, high=2 ** 32 - 1)
    first_clip: int = option(0, 'number of the first clip; its scene depends on it', low=0)
    num_workers: int = option(0, 'worker processes; 0: one per core', low=0)

    def problems(self) -> typing.Iterator[str]:
        if not self.output_dir:
            yield '--output_dir is missing: the folder to write the clips to'
        if not re.match(r'^[1-9]\d*x[1-9]\d*$', self.gt_size):
            yield '--gt_size=%s: it must be HEIGHTxWIDTH in pixels, as 720x1280' % self.gt_size

    @property
    def size(self) -> typing.Tuple[int, ...]:
        """Returns (height, width) of GT in pixels."""
        return tuple(int(side) for side in self.gt_size.split('x'))
