"""Where Ascend chips run the operator of the deformable convolutions: a table of chips, the rules of the operator.

They are those of CANN 8.1 and of the kernels of 2021, read and never run (docs/ascend.md).
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
      pattern: regular expression of the names of its chips, as atc takes them.
      cores: AI cores; the fewest of the kind.
      forward, backward: whether its AI Core has the operator, and the operator's gradient.
      any_groups: whether the operator takes several deform groups and any number of channels.
    """
    name: str
    pattern: str
    cores: int
    forward: bool = True
    backward: bool = True
    any_groups: bool = False


CHIPS = (
    Chip('Ascend 310', r'310', 2, forward=False, backward=False),
    Chip('Ascend 310B', r'310B\w*', 1, forward=False, backward=False),
    Chip('Ascend 310P', r'310P\w*', 8, backward=False),
    Chip('Ascend 910', r'910(A|ProA|PremiumA)', 32),
    Chip('Ascend 910, 30 cores', r'910(B|ProB)', 30),
    Chip('Atlas A2', r'910B[12]\w*', 24),
    Chip('Atlas A2, 20 cores', r'910B\w+', 20),
    Chip('Atlas A3', r'910_93\w*', 24),
    Chip('Ascend 950', r'950\w*', 1, any_groups=True))
UNKNOWN = Chip('a chip that is not named, taken for one of the fewest cores that trains', '', 20)


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
    return refusal(chip.cores, channels, groups, open_batch, half)


def refusal(cores: int, channels: int, groups: int, open_batch: bool, half: bool = False) -> str:
    """Returns why an AI Core that has the operator, with one deform group a call, does not take a call; '' if it does.

    Args:
      cores: AI cores of the chip.
      channels, groups, open_batch, half: as in `obstacle`.
    """
    if groups != 1:
        return 'AI Core takes one deform group a call; deformable_groups is %d' % groups
    if channels % MULTIPLE[half]:
        return '%d channels are no multiple of %d; AI Core takes multiples of %d in %s' % (
            channels, MULTIPLE[half], MULTIPLE[half], 'float16' if half else 'float32')
    if cores * channels < MIN_CORES_CHANNELS[open_batch]:
        return '%d cores x %d channels = %d, below %d%s' % (
            cores, channels, cores * channels, MIN_CORES_CHANNELS[open_batch],
            ' for an open batch' if open_batch else '')
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
