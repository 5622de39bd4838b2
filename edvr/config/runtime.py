"""The machine: device, parallelism and precision."""
import dataclasses
import functools
from typing import Iterator

from data_tools.base import config
from data_tools.base.config import Config
from edvr.config.npu import NpuConfig
from edvr.devices import DEVICES, KERNELS

option = functools.partial(config.option, may_change=True)


@dataclasses.dataclass(frozen=True)
class DeviceConfig(Config):
    """The device, its threads and replicas, and the precision."""

    TITLE = 'device'

    device: str = option('cpu', 'device to compute on: npu (Ascend), gpu or cpu; auto uses npu if there is an '
                                'Ascend adapter or card, else the GPUs that TensorFlow sees, else the CPU',
                         choices=tuple(DEVICES), common=True, auto=True)
    kernels: str = option('auto', 'operators that compute the network: npu (Ascend), native (compiled for CPUs, see '
                          'edvr.build_ops), tf (stock operations, everywhere), cuda (deformable '
                          'convolution for NVIDIA GPUs; needs g++ and NVRTC), auto (the fastest that the device and '
                          'the installation have)', choices=('auto',) + KERNELS, former='dcn_impl')

    convolutions: str = option('fast', 'with the compiled operators, how a training computes 3x3 convolutions and '
                               "their gradients: fast, by Winograd's algorithm where it saves time, with rounding "
                               'errors of up to four times the size; exact, by the definition',
                               choices=('fast', 'exact'), devices=('cpu',))
    num_devices: int = option(1, 'devices to train on in each host, each with its own --batch_size; 0 means all of '
                              'the host. On a CPU: processes that train together, to test a job of several devices',
                              low=0, common=True)
    cpu_replicas: int = option(1, 'model replicas on --device=cpu, each with its own --batch_size; above 1 only to '
                               'test a job of several GPUs on a machine without GPUs', low=1,
                               devices=('cpu',))
    mixed_precision: bool = option(False, 'on GPU: float16 where it is safe (automatic graph rewrite); switch on '
                                          'for cards with tensor cores, together with --loss_scale=dynamic',
                                   devices=('gpu',), common=True, may_change=False)
    gpu_memory_growth: bool = option(False, 'on GPU: allocate memory as needed instead of all at once; switch '
                                            'on if the card is shared', devices=('gpu',))
    deterministic_gradients: bool = option(False, 'on GPU with --kernels=cuda: add the gradients of the deformable '
                                           'convolution in a way that does not depend on the order of threads; for '
                                           "TensorFlow's own operations set the environment variable "
                                           'TF_DETERMINISTIC_OPS=1',
                                           devices=('gpu',))
    intra_op_threads: int = option(0, 'threads that compute inside one operation; 0 means one per core. Lower it when '
                                   'several processes share a host', low=0, local=True)
    inter_op_threads: int = option(0, 'operations that run at once; 0 means one per core', low=0, local=True)

    loss_scale: str = option('off', 'factor on the loss against float16 underflow (npu, or gpu with '
                                    '--mixed_precision): off, fixed (--loss_scale_value) or dynamic (starts '
                                    'there; halves on overflow, whose step is skipped; grows after '
                                    '--loss_scale_growth_steps good steps)',
                             choices=('off', 'fixed', 'dynamic'), devices=('npu', 'gpu'), may_change=False)
    loss_scale_value: float = option(1024., 'the fixed loss scale, or the one dynamic scaling starts with', low=1.,
                                     may_change=False)
    loss_scale_growth_steps: int = option(1000, 'dynamic loss scale: steps without overflow before it doubles', low=1)
    loss_scale_decay_overflows: int = option(1, 'dynamic loss scale on NPU: overflowing steps before it halves', low=1)


@dataclasses.dataclass(frozen=True)
class RuntimeConfig(NpuConfig, DeviceConfig):
    """The machine of a run. Only the precision options change what is computed."""

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        device = DEVICES[self.device]
        for field in dataclasses.fields(self):
            devices, value = field.metadata['devices'], getattr(self, field.name)
            if devices and self.device not in devices and value != field.default:
                yield '%s is %r, which is for --device=%s; the device is %r' % (
                    field.name, value, ' or '.join(devices), self.device)
        if self.kernels not in ('auto',) + device.KERNELS:
            yield 'kernels is %r, which --device=%s does not have; it has auto, %s' % (
                self.kernels, self.device, ', '.join(device.KERNELS))
        yield from device.option_problems(self)
