"""Options of make_lq."""
import dataclasses
from typing import Iterator

from data_tools.base.config import option
from data_tools.media.config import DegradationConfig, DeinterlaceConfig


@dataclasses.dataclass(frozen=True)
class MakeLqConfig(DeinterlaceConfig, DegradationConfig):
    """The GT to read and the LQ to write."""

    TITLE = 'make_lq'

    data_dir: str = option('', 'folder with clips or videos that are GT (layouts: see '
                           'data_tools/media/dataset_layouts.py)', path='input')
    output_dir: str = option('', "folder for the LQ, in the layout of the data set; may equal data_dir", path='output')
    scale: int = option(4, 'size of GT over size of LQ', choices=(1, 2, 3, 4))
    clips: str = option('', 'clips to use: names with commas, REDS4, @file.json or @file.txt; empty means all')
    exclude: str = option('', 'clips to leave out')
    seed: int = option(0, 'seed of the noise, and of the CRF of each clip')
    workers: int = option(0, 'worker processes, each writes one clip at a time; 0: one per core', low=0)
    overwrite: bool = option(False, 'make LQ again if it was made in another way')
    allow_damaged: bool = option(False, 'of a damaged or cut video, use the frames that can be decoded')

    def problems(self) -> Iterator[str]:
        """Yields a text for each inconsistency between fields."""
        yield from super().problems()
        if not self.data_dir:
            yield '--data_dir is not given; it must be the folder with the GT clips'
        if not self.output_dir:
            yield '--output_dir is not given; it must be the folder for the LQ clips'
