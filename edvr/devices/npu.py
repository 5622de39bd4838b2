"""Ascend NPUs, through the adapter of Ascend CANN."""
from __future__ import annotations

import importlib.util
import json
import math
import os
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Sequence

from data_tools.base.errors import UserError
from edvr.devices import npu_chips, npu_environment
from edvr.devices.base import Device, Presence
from edvr.devices.startup_checks import failures
from edvr.launch import npu_cards, npu_plan

if TYPE_CHECKING:
    from edvr.config import ModelConfig, RanksConfig
    from edvr.config.host import HostConfig
    from edvr.graph_mode import tf
    from edvr.launch.plan import Plan
    from edvr.ops.stock import StockOps

ADAPTERS = ('npu_bridge', 'npu_device')   # the adapters of TensorFlow 1.15 and of TensorFlow 2
OPERATOR = 'DeformableOffsets'
# the options that let every operation compute in float16
_ALL_FLOAT16 = {'precision_mode': 'force_fp16', 'precision_mode_v2': 'fp16'}
_LONGEST_LOOP = 100   # of --iterations_per_loop, to advise


class NpuDevice(Device):
    """The Ascend cards of the host: one rank, and one replica, for each."""

    NAME = 'npu'
    KERNELS = ('npu', 'tf')
    RANK_VARIABLE = 'RANK_ID'
    STATIC_SHAPES = True
    HIDES_OVERFLOWS = True        # if values saturate
    MEASURES_INPUT_WAIT = False

    @classmethod
    def presence(cls) -> Presence:
        """Returns whether the host has an adapter or a card.

        One of them is enough, even if the two do not work together: a user would notice only after hours that training
        runs on the CPU instead.
        """
        installed = [name for name in ADAPTERS if importlib.util.find_spec(name)]
        cards = npu_cards.device_files()
        if not cards and not installed:
            return Presence(False, 'no %s, no /dev/davinci*' % ' or '.join(ADAPTERS))
        return Presence(True, ' and '.join(['%s is installed' % name for name in installed[:1]]
                                           + ['%s is there' % name for name in cards[:1]]))

    def _plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        return npu_plan.of_ranks(self.config.num_devices, ranks, batch_size, log_dir, lambda: self.chip.is_910)

    def _notes_of_a_rank(self) -> list[str]:
        rank, size = os.environ['RANK_ID'], os.environ.get('RANK_SIZE', '')
        if size.isdigit() and self.config.num_devices and int(size) % self.config.num_devices:
            raise UserError('RANK_ID=%s and RANK_SIZE=%s say that this process is one rank of a job, but ranks of '
                            '--num_devices=%d a host are never %s: if another job has left these variables, unset '
                            'them, and this command starts its own ranks' % (rank, size, self.config.num_devices, size))
        return ['this process is rank %s of %s, for RANK_ID is set; if another job has left it, unset it, and this '
                'command starts its own ranks' % (rank, size or 'an unknown number')]

    @classmethod
    def plan_workers(cls, host: HostConfig) -> Plan:
        return npu_plan.of_workers(host)

    def rank_and_size(self) -> tuple[int, int]:
        return npu_environment.rank_and_size()

    def rendezvous_address(self, port: int) -> tuple[str, int]:
        return npu_plan.rendezvous_address(port)

    def num_replicas(self) -> int:
        return self.rank_and_size()[1]

    def problems(self, counts: dict[str, int], loss_reduction: str) -> list[str]:
        return (self.option_faults(counts, loss_reduction) + failures(self.require_options)
                + npu_environment.problems() + self._path_problems())

    def option_faults(self, counts: dict[str, int], loss_reduction: str) -> list[str]:
        """Returns the part of `problems` that depends on the options alone."""
        return self._loop_problems(counts) + self._precision_problems(loss_reduction)

    def resume_problems(self, step: int, counts: dict[str, int]) -> list[str]:
        loop = self.config.iterations_per_loop
        if not step % loop:
            return []
        common = step
        for count in counts.values():
            common = math.gcd(common, count)
        fitting = [str(value) for value in range(1, min(common, _LONGEST_LOOP) + 1) if not common % value]
        return ['the run continues at step %d, which is not a multiple of --iterations_per_loop=%d: its loops would '
                'pass --steps=%d; use --iterations_per_loop=%s' % (step, loop, counts['steps'], ' or '.join(fitting))]

    def require_options(self) -> None:
        """Raises UserError if the adapter is not there, or does not take the options of the run."""
        from edvr.devices import adapter
        adapter.require(self.config)

    def adapter_release(self) -> str:
        """Returns the oldest release that the installed adapter may be, by the options that it has."""
        from edvr.devices import adapter
        return adapter.release()

    def _loop_problems(self, counts: dict[str, int]) -> list[str]:
        loop = self.config.iterations_per_loop
        return ['--%s=%d is not a multiple of --iterations_per_loop=%d: nothing can happen inside a loop; use %d'
                % (name, count, loop, -(-count // loop) * loop)
                for name, count in sorted(counts.items()) if count % loop]

    def _precision_problems(self, loss_reduction: str) -> list[str]:
        name = 'precision_mode_v2' if self.config.precision_mode_v2 else 'precision_mode'
        if getattr(self.config, name) != _ALL_FLOAT16[name] or loss_reduction != 'sum':
            return []
        return ['--%s=%s with --loss_reduction=sum: the sum over a batch exceeds float16, whose largest number is '
                '65504; use --loss_reduction=mean, or --precision_mode=allow_mix_precision with --loss_scale=dynamic'
                % (name, _ALL_FLOAT16[name])]

    def _path_problems(self) -> list[str]:
        # the adapter ends the process when they are missing
        config = self.config
        found = ['--%s=%s is not a directory; make it first' % (name, path)
                 for name, path in (('dump_path', config.dump_path),
                                    ('op_compiler_cache_dir', config.op_compiler_cache_dir))
                 if path and not os.path.isdir(path)]
        output = json.loads(config.profiling)['output'] if config.profiling else ''
        if output and not os.path.isdir(output):
            found.append('--profiling: its "output" %s is not a directory; make it first' % output)
        return found + ['--%s=%s is not a file' % (name, path)
                        for name, path in (('modify_mixlist', config.modify_mixlist),
                                           ('op_precision_mode', config.op_precision_mode))
                        if path and not os.path.isfile(path)]

    def require(self) -> None:
        from edvr.devices import adapter
        adapter.require()

    def versions(self) -> dict[str, str]:
        from edvr.devices import adapter
        return {'adapter release, at least': adapter.release()}

    def explain(self, error: Exception) -> str:
        text = str(error)
        if 'Missing 0-th output' in text and OPERATOR in text:
            return ('the adapter left the graph on the host, where its operator %s computes nothing: source set_env.sh '
                    'of CANN in this shell and check the card with npu-smi info' % OPERATOR)
        if 'E30008' in text:
            return ('an operator on the AI CPU timed out (E30008), as when the first batches take long: give '
                    '--npu_option=op_execute_timeout=SECONDS (adapters since r1.7.0), or a smaller --shuffle_buffer')
        return ''

    def ops(self, compute: str | None = None) -> StockOps:
        if self.kernels != 'npu':
            return super().ops(compute)
        from edvr.devices import adapter
        from edvr.ops.ascend import AscendOps
        return AscendOps(adapter.sample, self._splits, self.full_precision_scope)

    def placement(self, model: ModelConfig, training: bool = False) -> list[str]:
        if self.kernels != 'npu' or not model.is_deformable:
            return []
        lines = [npu_chips.describe(self.config.npu_dcn, self.chip, model.channels, model.deform_groups, False,
                                    self.half)]
        reason = npu_chips.gradient_obstacle(self.chip, model.channels, model.deform_groups) if training else ''
        return lines + (['their gradients: on the AI CPU, which is slow: %s' % reason] if reason else [])

    def _splits(self, channels: int, groups: int, open_batch: bool) -> bool:
        return npu_chips.place(self.config.npu_dcn, self.chip, channels, groups, open_batch, self.half).split

    @property
    def chip(self) -> npu_chips.Chip:
        """Returns the chip by --soc_version, else by npu-smi."""
        return npu_chips.find(self.config.soc_version or npu_cards.chip())

    @property
    def half(self) -> bool:
        """Returns whether the options may let the operator compute in float16."""
        return (self.config.precision_mode_v2 or self.config.precision_mode) in npu_chips.HALF_MODES

    def session_config(self) -> tf.ConfigProto:
        from edvr.devices import adapter
        found = self._path_problems()
        if found:
            raise UserError('; '.join(found))
        proto = self._host_config()
        adapter.offload(proto, self.config)
        return proto

    def _host_config(self) -> tf.ConfigProto:
        proto = super()._host_config()
        proto.device_count['GPU'] = 0
        # the fused CPU kernels, which the adapter does not know
        proto.graph_options.rewrite_options.remapping = proto.graph_options.rewrite_options.OFF
        return proto

    def full_precision_scope(self) -> ContextManager[Any]:
        from edvr.devices import adapter
        return adapter.full_precision_scope()

    def make_estimator(self, model_fn: Callable, model_dir: str, seed: int | None = None) -> tf.estimator.Estimator:
        from edvr.devices import adapter
        return adapter.make_estimator(model_fn, model_dir, self.config, self._host_config(), seed)

    def training_hooks(self) -> list[tf.train.SessionRunHook]:
        if self.num_replicas() == 1:
            return []
        from edvr.devices import adapter
        return [adapter.SameStepHook()]

    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        from edvr.devices import adapter
        return adapter.wrap_optimizer(optimizer, self.config, self.num_replicas())

    def _loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor:
        from edvr.devices import adapter
        return adapter.loss_scale(optimizer)

    def _average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        from edvr.devices import adapter
        return adapter.average(tensors, self.num_replicas())
