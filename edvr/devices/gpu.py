"""GPUs: those that TensorFlow sees."""
from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from data_tools.base.errors import UserError
from edvr.devices.base import Presence
from edvr.devices.strategy_device import StrategyDevice
from edvr.launch import gpu_plan

if TYPE_CHECKING:
    from edvr.config import RanksConfig, RuntimeConfig
    from edvr.config.host import HostConfig
    from edvr.graph_mode import tf
    from edvr.launch.plan import Plan
    from edvr.ops.stock import StockOps

# NVIDIA's driver; WSL 2; AMD's driver. Without any of them there is no GPU, and TensorFlow is not loaded to find out.
GPU_FILES = ('/dev/nvidia[0-9]*', '/dev/nvidiactl', '/dev/dxg', '/dev/kfd')


def count() -> int:
    """Returns the number of GPUs that TensorFlow sees; takes none of their memory."""
    from edvr.graph_mode import tf
    return len(tf.config.experimental.list_physical_devices('GPU'))   # device_lib.list_local_devices would take it


class GpuDevice(StrategyDevice):
    """The GPUs of the host."""

    NAME = 'gpu'
    KERNELS = ('cuda', 'tf')
    VALIDATION_DEVICE = 'gpu'

    @classmethod
    def presence(cls) -> Presence:
        files = [path for pattern in GPU_FILES for path in sorted(glob.glob(pattern))]
        if not files:
            return Presence(False, 'no GPU')
        from edvr.graph_mode import tf
        found = count()
        if found:
            return Presence(True, 'TensorFlow %s sees %d GPU%s' % (tf.__version__, found, '' if found == 1 else 's'))
        return Presence(False, '%s is there, but TensorFlow %s sees no GPU: check nvidia-smi and the CUDA libraries'
                        % (files[0], tf.__version__))

    @classmethod
    def option_problems(cls, config: RuntimeConfig) -> list[str]:
        if config.loss_scale == 'off' or config.mixed_precision:
            return []
        return ['loss_scale is %r, which serves float16: on --device=gpu use it with --mixed_precision'
                % config.loss_scale]

    def _plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        return gpu_plan.of_ranks(self.config.num_devices, ranks, batch_size, count())

    @classmethod
    def plan_workers(cls, host: HostConfig) -> Plan:
        return gpu_plan.of_workers(host.num_devices, count())

    def available_kernels(self) -> tuple[str, ...]:
        """Returns the kernels; without what `cuda` needs, which a line names, only the stock ones."""
        from edvr.ops import cuda_library
        return self.KERNELS if cuda_library.available() else ('tf',)

    @property
    def kernels(self) -> str:
        """Returns the kernels of the network: the stock ones on request, or without what `cuda` needs."""
        return 'tf' if self.config.kernels == 'tf' else self.available_kernels()[0]

    def ops(self, compute: str | None = None) -> StockOps:
        if self.kernels != 'cuda':
            return super().ops(compute)
        from edvr.ops.cuda_ops import CudaOps
        return CudaOps(self.config.deterministic_gradients, self.full_precision_scope)

    def replica_devices(self) -> list[str]:
        from edvr.graph_mode import tf
        found, asked = count(), self.config.num_devices
        if not found:
            raise UserError('--device=gpu, but TensorFlow %s sees no GPU: check nvidia-smi, CUDA_VISIBLE_DEVICES and '
                            'the CUDA version of this TensorFlow, or use --device=cpu' % tf.__version__)
        if asked > found:
            raise UserError('--num_devices=%d, but TensorFlow sees only %d GPUs on this host; check '
                            'CUDA_VISIBLE_DEVICES' % (asked, found))
        if 0 < asked < found and self.rank_and_size()[1] > 1:
            raise UserError('--num_devices=%d, but TensorFlow sees %d GPUs on this host: a job over several processes '
                            'takes all that it sees, so choose them with CUDA_VISIBLE_DEVICES, or give --num_devices=0'
                            % (asked, found))
        return ['/gpu:%d' % index for index in range(asked or found)]

    def session_config(self) -> tf.ConfigProto:
        proto = self._host_config()
        proto.gpu_options.allow_growth = self.config.gpu_memory_growth
        return proto

    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        optimizer = super()._wrap_optimizer(optimizer)
        if not self.config.mixed_precision:
            return optimizer
        from edvr.graph_mode import tf
        scale = {'off': 1., 'fixed': self.config.loss_scale_value}.get(self.config.loss_scale)
        if scale is None:
            scale = tf.train.experimental.DynamicLossScale(
                initial_loss_scale=self.config.loss_scale_value, increment_period=self.config.loss_scale_growth_steps)
        return tf.train.experimental.enable_mixed_precision_graph_rewrite(optimizer, scale)

    def _loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor:
        from edvr.graph_mode import tf
        return tf.cast(optimizer._loss_scale(), tf.float32)   # TensorFlow has no public access to it
