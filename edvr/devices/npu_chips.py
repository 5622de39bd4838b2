"""Where Ascend chips run the operator of the deformable convolutions: a table of chips, the rules of the operator.

They are those of CANN 8.1 and of the kernels of 2021, read and never run (docs/ascend.md). The memory of the cards, and
the cores where `cores_read` is false, are general knowledge.
"""
import re
import typing

MIN_CORES_CHANNELS = {False: 1024, True: 2049}   # whether the batch is open -> least AI cores x channels
# the precision modes that may compute sampling in 16 bits
HALF_MODES = ('force_fp16', 'fp16', 'allow_mix_precision', 'allow_mix_precision_fp16', 'allow_mix_precision_bf16',
              'mixed_float16', 'mixed_bfloat16')
MULTIPLE = {False: 8, True: 16}                  # whether it computes in float16 -> what channels are a multiple of


class Chip(typing.NamedTuple):
    """Describes a kind of chips.

    Attributes:
      name: of the kind.
      family: its name in the operator table of CANN 8.1; '' if the table lacks it.
      pattern: regular expression of the names of its chips, as atc takes them.
      cores: AI cores; the fewest of the kind.
      memory_gb: memory of a card; the least of the kind, 0 if it depends on the card.
      forward, backward: whether its AI Core has the operator, and the operator's gradient.
      any_groups: whether the operator takes several deform groups and any number of channels.
      saturates: whether values that overflow saturate, and a flag of the device shows it; else they become Inf and NaN.
      cores_read: whether the cores were read in CANN 8.1.
    """
    name: str
    family: str
    pattern: str
    cores: int
    memory_gb: int = 0
    forward: bool = True
    backward: bool = True
    any_groups: bool = False
    saturates: bool = False
    cores_read: bool = True

    @property
    def is_910(self) -> bool:
        """Returns whether it is a chip of 2019, whose servers HCCL takes only with some sets of cards."""
        return self.family == '910'


CHIPS = (   # a name is that of the first pattern that it matches
    Chip('Ascend 310', '310', r'310', 2, 8, forward=False, backward=False, saturates=True),
    Chip('Ascend 310B', '310b', r'310B\w*', 1, forward=False, backward=False, saturates=True, cores_read=False),
    Chip('Ascend 310P', '310p', r'310P\w*', 8, backward=False, saturates=True),
    Chip('Ascend 910', '910', r'910(A|ProA|PremiumA)', 32, 32, saturates=True),
    Chip('Ascend 910, 30 cores', '910', r'910(B|ProB)', 30, 32, saturates=True),
    Chip('Atlas A2, 910B1', '910b', r'910B1\w*', 24, 64),
    Chip('Atlas A2, 910B2', '910b', r'910B2\w*', 24, 64, cores_read=False),
    Chip('Atlas A2, 910B3', '910b', r'910B3\w*', 20, 64),
    Chip('Atlas A2', '910b', r'910B\w+', 20, 32),
    Chip('Atlas A3', '910_93', r'910_93\w*', 24, 64),
    Chip('Ascend 950', '', r'950\w*', 1, any_groups=True, cores_read=False))
UNKNOWN = Chip('a chip that is not known, taken for one of the fewest cores that trains', '', '', 20)


class Placement(typing.NamedTuple):
    """Describes how the deformable convolutions of a network run.

    Attributes:
      split: whether each deform group is a call of its own.
      reason: why the operator runs on the AI CPU; '' if it runs on AI Core.
    """
    split: bool
    reason: str


def find(name: str) -> Chip:
    """Returns the kind of a chip such as Ascend910B1; UNKNOWN for another name or none."""
    short = re.sub('^ascend', '', name, flags=re.IGNORECASE)
    return next((chip for chip in CHIPS if re.fullmatch(chip.pattern, short, re.IGNORECASE)), UNKNOWN)


# family in the operator table -> its chip with the fewest cores; of 910 that which most cards have
FAMILIES = {chip.family: chip for chip in map(find, ('310', '310B', '310P', '910A', '910B4', '910_93'))}


def listed(name: str) -> Chip:
    """Returns a chip of the operator table by its family or its name, such as 910b or Ascend910B3; else UNKNOWN."""
    found = FAMILIES.get(name.strip().lower()) or find(name.strip())
    return found if found.family else UNKNOWN


def obstacle(chip: Chip, channels: int, groups: int, open_batch: bool, half: bool = False) -> str:
    """Returns why the AI Core of a chip does not take a call of the operator; '' if it does.

    Args:
      chip: one of CHIPS, or UNKNOWN.
      channels: of x.
      groups: deform groups of the call.
      open_batch: whether the batch is not fixed.
      half: whether it computes in float16.
    """
    if not chip.forward:
        return 'its AI Core does not have the operator'
    if chip.any_groups:
        return ''
    if groups != 1:
        return 'AI Core takes one deform group a call; deformable_groups is %d' % groups
    if channels % MULTIPLE[half]:
        return '%d channels are no multiple of %d; AI Core takes multiples of %d in %s' % (
            channels, MULTIPLE[half], MULTIPLE[half], 'float16' if half else 'float32')
    if chip.cores * channels < MIN_CORES_CHANNELS[open_batch]:
        return '%d cores x %d channels = %d, below %d%s' % (
            chip.cores, channels, chip.cores * channels, MIN_CORES_CHANNELS[open_batch],
            ' for an open batch' if open_batch else '')
    return ''


def gradient_obstacle(chip: Chip, channels: int, groups: int) -> str:
    """Returns why the AI Core of a chip does not take the gradient of the operator; '' if it does."""
    if not chip.backward:
        return 'its AI Core does not have the gradient of the operator'
    if not chip.any_groups and channels // groups % MULTIPLE[False]:
        return '%d channels a group; AI Core takes multiples of %d' % (channels // groups, MULTIPLE[False])
    return ''


def place(way: str, chip: Chip, channels: int, groups: int, open_batch: bool, half: bool = False) -> Placement:
    """Returns the Placement for a value of --npu_dcn; `auto` splits where only that brings the operator to AI Core."""
    whole, one = (obstacle(chip, channels, count, open_batch, half) for count in (groups, 1))
    split = groups > 1 and (way == 'split' or (way == 'auto' and bool(whole) and not one))
    reason = one if split else whole
    if reason == whole and way == 'auto' and groups > 1 and one:
        reason = one   # a split would not help either
    return Placement(split, reason)


def describe(way: str, chip: Chip, channels: int, groups: int, open_batch: bool, half: bool = False) -> str:
    """Returns a line for the user: where the deformable convolutions run, and why."""
    found = place(way, chip, channels, groups, open_batch, half)
    calls = '%d calls of one group' % groups if found.split else 'one call of %d group%s' % (
        groups, '' if groups == 1 else 's')
    where = 'on the AI CPU, which is slow: %s' % found.reason if found.reason else 'on AI Core'
    return 'deformable convolutions on %s: %s, %s (--npu_dcn=%s; by the rules of CANN 8.1, never seen on a card)' % (
        chip.name, calls, where, way)


def table(channels: int, groups: int, open_batch: bool) -> typing.List[typing.Dict[str, typing.Any]]:
    """Returns for each kind of chips how `auto` runs the operator: dicts for JSON."""
    rows = []
    for chip in CHIPS:
        found = place('auto', chip, channels, groups, open_batch)
        rows.append(dict(chip=chip.name, cores=chip.cores, channels=channels, groups=groups,
                         batch='open' if open_batch else 'fixed', calls=groups if found.split else 1,
                         runs_on='AI CPU' if found.reason else 'AI Core', reason=found.reason))
    return rows
