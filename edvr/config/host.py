"""The devices of a host that share a restoration."""
import dataclasses
from typing import Tuple

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class HostConfig(Config):
    """The devices of this host that restore. Each device has a separate process."""

    TITLE = 'devices'

    num_devices: int = option(0, 'devices of this host that share the work; 0 uses all of them (of NPUs only the one '
                              'that DEVICE_ID in the environment names, if it is set). On a CPU: processes that share '
                              'the cores, 0 means one', low=0, common=True)
    device_ids: Tuple[int, ...] = option((), 'NPUs of this host to use, as many as --num_devices; empty uses the first '
                                         'ones', low=0, devices=('npu',))
