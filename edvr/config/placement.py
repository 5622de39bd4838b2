"""Options of the check of a job for Ascend NPUs."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base.config import Config, option
from edvr.devices import npu_chips


@dataclasses.dataclass(frozen=True)
class PlacementConfig(Config):
    """Holds what is checked beside the options of the training."""

    TITLE = 'check'

    chips: Tuple[str, ...] = option((), 'chips of the job: %s; or one as --soc_version names it, such as Ascend910B3. '
                                    'Default: that of --soc_version, else 910,910b,910_93' % ', '.join(
                                        '%s (%s)' % (name, chip.name) for name, chip in npu_chips.FAMILIES.items()),
                                    common=True)
    frame_size: Tuple[int, ...] = option((180, 320), 'height and width of the frames that the exported graph restores',
                                         low=1, common=True)
    json: str = option('', 'file for the report as JSON', common=True, path='output')

    def problems(self) -> Iterator[str]:
        for name in self.chips:
            if not npu_chips.listed(name).family:
                yield 'chips has %r, which the operators of CANN 8.1 do not list; it has %s, and names such as ' \
                      'Ascend910B3' % (name, ', '.join(npu_chips.FAMILIES))
        if len(self.frame_size) != 2:
            yield 'frame_size is %s; it must be height and width, such as 180,320' % ','.join(map(str, self.frame_size))
