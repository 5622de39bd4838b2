"""Options of the check of a job for Ascend NPUs."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base.config import Config, ConfigError, option
from edvr.devices.npu_chips import FAMILIES, chip_of


@dataclasses.dataclass(frozen=True)
class PlacementConfig(Config):
    """What is checked beside the options of the training."""

    TITLE = 'check'

    chips: Tuple[str, ...] = option(('910', '910b', '910_93'), 'chips of the job: %s; or one as --soc_version of '
                                    'edvr.export names it, such as Ascend910B3' % ', '.join(
                                        '%s (%s)' % (name, chip.text) for name, chip in FAMILIES.items()), common=True)
    frame_size: Tuple[int, ...] = option((180, 320), 'height and width of the frames that the exported graph restores',
                                         low=1, common=True)
    json: str = option('', 'file for the report as JSON', common=True)

    def problems(self) -> Iterator[str]:
        if not self.chips:
            yield 'chips is empty; it must name at least one chip, such as 910b'
        for name in self.chips:
            try:
                chip_of(name)
            except ConfigError as error:
                yield from error.problems
        if len(self.frame_size) != 2:
            yield 'frame_size is %s; it must be height and width, such as 180,320' % ','.join(map(str, self.frame_size))
