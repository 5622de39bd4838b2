"""What CPUs, GPUs and NPUs do differently: one class each. The modules load TensorFlow only when a graph is built."""
from __future__ import annotations

from typing import TYPE_CHECKING

from edvr.devices.base import Device
from edvr.devices.cpu import CpuDevice
from edvr.devices.gpu import GpuDevice
from edvr.devices.npu import NpuDevice

if TYPE_CHECKING:
    from edvr.config import RuntimeConfig

DEVICES: dict[str, type[Device]] = {'cpu': CpuDevice, 'gpu': GpuDevice, 'npu': NpuDevice}

# the values of --kernels, beside auto
KERNELS = tuple(dict.fromkeys(kernels for device in DEVICES.values() for kernels in device.KERNELS))


def device_of(config: RuntimeConfig) -> Device:
    """Returns the device that `config` names, with its options."""
    return DEVICES[config.device](config)
