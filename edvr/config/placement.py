"""Options of the check of a job for Ascend NPUs."""
import dataclasses
import re
from typing import Iterator, NamedTuple, Tuple

from data_tools.base.config import Config, ConfigError, option


class Chip(NamedTuple):
    """Describes a chip, or a family of chips with the values of its smallest member.

    Attributes:
      name: of the family in the operator table.
      text: what it is called elsewhere.
      cores: AI cores.
      memory_gb: memory of a card in GB; 0 if it depends on the card.
    """
    name: str
    text: str
    cores: int
    memory_gb: int


# AI cores of 910, 910b, 910_93, 310p, 310: read in CANN 8.1; the other cores and the memory were not read there
FAMILIES = {
    '310': Chip('310', 'Ascend 310', 2, 8),
    '310b': Chip('310b', 'Ascend 310B', 1, 0),
    '310p': Chip('310p', 'Ascend 310P', 8, 0),
    '910': Chip('910', 'Ascend 910A', 32, 32),
    '910b': Chip('910b', 'Ascend 910B, Atlas A2', 20, 32),
    '910_93': Chip('910_93', 'Ascend 910_93, Atlas A3', 24, 64)}
_VARIANTS = {'910b1': (24, 64), '910b2': (24, 64), '910b3': (20, 64), '910b4': (20, 32)}   # (AI cores, GB)
_NAMES = (('310b', r'310b\w*'), ('310p', r'310p\w*'), ('310', r'310'), ('910_93', r'910_93\w*'),
          ('910b', r'910b\w*'), ('910', r'910(a|pro[ab]|premiuma)?'))


def chip_of(name: str) -> Chip:
    """Returns a chip by the name of a family or of a chip, such as 910b or Ascend910B3.

    Raises:
      ConfigError: the table of operators does not have it.
    """
    short = re.sub('^ascend', '', name.strip().lower())
    for family, pattern in _NAMES:
        if re.fullmatch(pattern, short):
            cores, memory_gb = _VARIANTS.get(short, FAMILIES[family][2:])
            return FAMILIES[family]._replace(cores=cores, memory_gb=memory_gb)
    raise ConfigError(['chips has %r, which the operators of CANN 8.1 do not list; it has %s, and names such as '
                       'Ascend910B3' % (name, ', '.join(FAMILIES))])


@dataclasses.dataclass(frozen=True)
class PlacementConfig(Config):
    """Holds what is checked beside the options of the training."""

    TITLE = 'check'

    chips: Tuple[str, ...] = option(('910', '910b', '910_93'), 'chips of the job: %s; or one as --soc_version of '
                                    'edvr.export names it, such as Ascend910B3' % ', '.join(
                                        '%s (%s)' % (name, chip.text) for name, chip in FAMILIES.items()), common=True)
    frame_size: Tuple[int, ...] = option((180, 320), 'height and width of the frames that the exported graph restores',
                                         low=1, common=True)
    json: str = option('', 'file for the report as JSON', common=True, path='output')

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
