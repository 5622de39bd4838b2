"""Ascend chips: what is known of them without a card, and where DeformableOffsets runs on each.

Read in the operator kernels of CANN 8.1 (`check_supported`) and in the vendor's documents. Nothing here was measured.
"""
from __future__ import annotations

import re
from typing import NamedTuple

from data_tools.base.config import ConfigError

CORES_TIMES_CHANNELS = 1024        # least product of AI cores and channels with which AI Core takes DeformableOffsets
OPEN_CORES_TIMES_CHANNELS = 2048   # of an open batch, which it must exceed
CHANNEL_MULTIPLES = {'float32': 8, 'float16': 16}


class Chip(NamedTuple):
    """A chip, or a family of chips with the values of its smallest member.

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


def off_ai_core(chip: Chip, channels: int, groups: int, open_batch: bool = False, dtype: str = 'float32') -> str:
    """Returns the reason for which AI Core refuses DeformableOffsets, or an empty text.

    Args:
      chip: one whose AI Core library has the operator.
      channels: C of the sampled features.
      groups: deform groups of one call.
      open_batch: whether the batch is not fixed.
      dtype: a key of CHANNEL_MULTIPLES.
    """
    if groups != 1:
        return 'deformable_groups is %d; AI Core takes 1 a call' % groups
    if channels % CHANNEL_MULTIPLES[dtype]:
        return '%d channels; AI Core takes multiples of %d in %s' % (channels, CHANNEL_MULTIPLES[dtype], dtype)
    product = chip.cores * channels
    if product < CORES_TIMES_CHANNELS or (open_batch and product <= OPEN_CORES_TIMES_CHANNELS):
        return '%d AI cores x %d channels is %d; AI Core takes %s' % (
            chip.cores, channels, product, 'more than %d with an open batch' % OPEN_CORES_TIMES_CHANNELS if open_batch
            else 'at least %d' % CORES_TIMES_CHANNELS)
    return ''
