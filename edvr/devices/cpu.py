"""CPUs: they compute everything, and stand in for several devices in tests of a job."""
from __future__ import annotations

from typing import TYPE_CHECKING

from data_tools.base.errors import UserError
from edvr.devices.base import Presence
from edvr.devices.strategy_device import StrategyDevice
from edvr.launch import cpu_plan

if TYPE_CHECKING:
    from edvr.config import RanksConfig
    from edvr.config.host import HostConfig
    from edvr.graph_mode import tf
    from edvr.launch.plan import Plan
    from edvr.ops.stock import StockOps


class CpuDevice(StrategyDevice):
    """The cores of the host."""

    NAME = 'cpu'
    KERNELS = ('native', 'tf')
    ON_HOST = True

    @classmethod
    def presence(cls) -> Presence:
        return Presence(True, '')

    def _plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        return cpu_plan.of_ranks(self.config.num_devices, ranks)

    @classmethod
    def plan_workers(cls, host: HostConfig) -> Plan:
        return cpu_plan.of_workers(host.num_devices)

    def replica_devices(self) -> list[str]:
        if self.config.cpu_replicas > 1 and self.rank_and_size()[1] > 1:
            raise UserError('--cpu_replicas=%d together with TF_CONFIG: each of its processes has one replica'
                            % self.config.cpu_replicas)
        return ['/cpu:%d' % index for index in range(self.config.cpu_replicas)]

    def available_kernels(self) -> tuple[str, ...]:
        """Returns the kernels, the compiled ones only if a compiler has built them. Builds them if needed."""
        from edvr.ops import native_library
        return self.KERNELS if native_library.available() else ('tf',)

    def ops(self, compute: str | None = None) -> StockOps:
        if self.kernels != 'native':
            return super().ops(compute)
        from edvr.ops.compiled import CompiledOps
        return CompiledOps(compute or self.config.convolutions, self.full_precision_scope)

    def session_config(self) -> tf.ConfigProto:
        proto = self._host_config()
        proto.device_count['GPU'] = 0
        proto.device_count['CPU'] = self.config.cpu_replicas
        return proto

    def restoring_config(self) -> tf.ConfigProto:
        proto = self.session_config()
        # TensorFlow rewrites each part of the graph before its first run, which takes a tenth of the time until the
        # first frame; the compiled operators leave nothing to rewrite
        proto.graph_options.rewrite_options.disable_meta_optimizer = self.kernels == 'native'
        return proto
