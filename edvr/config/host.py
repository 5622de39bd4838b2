"""The devices of a host that share a restoration."""
import dataclasses
from typing import Tuple

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class HostConfig(Config):
    """How many devices of this host restore, and which. Each is driven by a process of its own."""

    TITLE = 'devices'

    num_devices: int = option(0, 'devices of this host that share the work; 0 takes all of them (of NPUs the one that '
                              'DEVICE_ID in the environment names, if it is set). On a CPU: processes that share the '
                              'cores, 0 is one', low=0, common=True)
    device_ids: Tuple[int, ...] = option((), 'NPUs of this host to use, --num_devices of them; empty means the first '
                                         'ones', low=0, devices=('npu',))
