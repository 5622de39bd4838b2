"""Options of `edvr.inspect_data`."""
import dataclasses

from data_tools.base.config import option
from data_tools.media.config import ShotConfig


@dataclasses.dataclass(frozen=True)
class InspectConfig(ShotConfig):
    """A packed set (--data_dir), its source, or both."""

    TITLE = 'inspection'

    source: str = option('', 'folder with clips or videos (layouts: see '
                         'data_tools/media/dataset_layouts.py); GT or LQ is enough', common=True, path='input')
    scale: int = option(4, 'scale of the LQ folders of the source (blur4, X4), if it has no GT; and of LQ that '
                        '--degradation makes', choices=(1, 2, 3, 4),
                        common=True)
    output_dir: str = option('inspection', 'folder for crops.png, clips.png, shots.json and the TensorBoard events',
                             common=True, path='output')
    crops: int = option(24, 'random crops to draw from the packed set', low=1, high=512, common=True)
    most_clips: int = option(60, 'clips and shots on a sheet', low=1, high=1000)
