"""Checks before a run starts; all problems are reported together."""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Callable, Sequence

from data_tools.base.errors import UserError

if TYPE_CHECKING:
    from edvr.devices.base import Device


def check(device: Device, counts: dict[str, int], loss_reduction: str,
          readings: Sequence[Callable[[int, int], None]] = ()) -> None:
    """Raises UserError listing every problem of the environment, of the options with each other, and of the input.

    Args:
      device: the device of the run.
      counts: {flag: number of steps}, as in `Device.problems`.
      loss_reduction: 'sum' or 'mean', as in `Device.problems`.
      readings: functions(rank, size) that check the input and raise UserError. If the environment does not define rank
        and size, they are called for rank 0 of 1.
    """
    found = device.problems(counts, loss_reduction)
    rank, size = (0, 1) if found else device.rank_and_size()
    for reading in readings:
        found += failures(functools.partial(reading, rank, size))
    if len(found) == 1:
        raise UserError(found[0])
    if found:
        raise UserError('%d problems, and nothing was started:\n%s'
                        % (len(found), '\n'.join('  - ' + text for text in found)))


def failures(action: Callable[[], object]) -> list[str]:
    """Returns the text of the UserError that `action` raises, or nothing."""
    try:
        action()
    except UserError as error:
        return [str(error)]
    return []
