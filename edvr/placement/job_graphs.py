"""The graphs of a job as an Ascend host builds them, without its adapter."""
from __future__ import annotations

import contextlib
import warnings
from typing import Any, ContextManager, Sequence

import tensorflow.compat.v1 as tf

from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.export import InterfaceConfig
from edvr.devices.npu import NpuDevice
from edvr.devices.npu_chips import UNKNOWN, Chip
from edvr.exporting.graphs import WholeGraph
from edvr.ops.ascend import AscendOps, exported_ops
from edvr.ops.stock import StockOps
from edvr.placement import graph
from edvr.placement.graph import Node
from edvr.training.model_fn import SET, make_model_fn


class PlannedNpu(NpuDevice):
    """Stands for an NPU whose adapter is not here: nodes take the place of its operators, and no graph is run."""

    def __init__(self, config: RuntimeConfig, size: int, chip: Chip = UNKNOWN) -> None:
        """Sets the options, the number of ranks of the job, and their chip."""
        super().__init__(config)
        self._ranks, self._planned_chip = size, chip

    @property
    def chip(self) -> Chip:
        """Returns the chip of the ranks."""
        return self._planned_chip

    def variant(self, model: ModelConfig) -> tuple[bool, bool]:
        """Returns what of the chip its graphs depend on: the same value for chips that have the same graphs."""
        return (self._splits(model.channels, model.deform_groups, False),
                self.config.loss_scale != 'off' and self.chip.saturates)

    def rank_and_size(self) -> tuple[int, int]:
        return 0, self._ranks

    def ops(self, compute: str | None = None) -> StockOps:
        return AscendOps(graph.sample, self._splits) if self.kernels == 'npu' else StockOps()

    def full_precision_scope(self) -> ContextManager[Any]:
        return contextlib.nullcontext()

    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        averaging = _Averaging(optimizer, self) if self._ranks > 1 else optimizer
        return averaging if self.config.loss_scale == 'off' else _Scaling(averaging, self, self.chip.saturates)

    def _loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor:
        return tf.convert_to_tensor(optimizer.scale)

    def _average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        means = tf.split(self.mean_of(flat), [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(mean, tensor.shape) for mean, tensor in zip(means, tensors)]

    def mean_of(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the mean of a tensor over the ranks."""
        return self.sum_of(tensor) / self._ranks

    def sum_of(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the sum of a tensor over the ranks."""
        return tensor if self._ranks == 1 else graph.stand_in('HcomAllReduce', [tensor], [tensor.shape])[0]


class _Averaging(tf.train.Optimizer):
    """Averages gradients over the ranks, one exchange a variable, as the adapter does."""

    def __init__(self, optimizer: tf.train.Optimizer, device: PlannedNpu) -> None:
        super().__init__(False, 'Averaging')
        self._optimizer, self._device = optimizer, device

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list[tuple[tf.Tensor, tf.Variable]]:
        return [(None if gradient is None else self._device.mean_of(gradient), variable)
                for gradient, variable in self._optimizer.compute_gradients(*args, **kwargs)]

    def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Operation:
        return self._optimizer.apply_gradients(*args, **kwargs)


class _Scaling(tf.train.Optimizer):
    """Scales the loss, and skips the updates of an overflow, as the adapter does.

    Where values saturate, the adapter reads a flag of the device, and adds it over the ranks; in INF/NaN mode it looks
    at the gradients.

    Attributes:
      scale: of the loss.
    """

    def __init__(self, optimizer: tf.train.Optimizer, device: PlannedNpu, saturates: bool) -> None:
        super().__init__(False, 'Scaling')
        self._optimizer, self._device, self._saturates = optimizer, device, saturates
        config = device.config
        self._dynamic = config.loss_scale == 'dynamic'
        self.scale = self._state('loss_scale', config.loss_scale_value) if self._dynamic else config.loss_scale_value
        if self._dynamic:
            self._good, self._bad = self._state('good_steps', 0), self._state('bad_steps', 0)

    @staticmethod
    def _state(name: str, value: float) -> tf.Variable:
        return tf.get_variable(name, initializer=value, trainable=False)

    def compute_gradients(self, loss: tf.Tensor, *args: Any, **kwargs: Any) -> list[tuple[tf.Tensor, tf.Variable]]:
        if self._saturates:
            self._status, = graph.stand_in('NpuAllocFloatStatus', [], [[8]])
        scale = tf.convert_to_tensor(self.scale)
        inverse = tf.reciprocal(scale)
        return [(None if gradient is None else gradient * inverse, variable)
                for gradient, variable in self._optimizer.compute_gradients(loss * scale, *args, **kwargs)]

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: Any = None) -> tf.Operation:
        pairs = list(grads_and_vars)
        gradients = [gradient for gradient, _ in pairs if gradient is not None]
        finite = self._no_flag(gradients) if self._saturates else tf.reduce_all(
            [tf.reduce_all(tf.is_finite(gradient)) for gradient in gradients])
        update = tf.cond(finite, lambda: tf.group(self._optimizer.apply_gradients(pairs, global_step, name)), tf.no_op)
        return tf.group(update, self._adapt(finite)) if self._dynamic else update

    def _no_flag(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        with tf.control_dependencies(gradients):
            read, = graph.stand_in('NpuGetFloatStatus', [self._status], [[8]])
        cleared, = graph.stand_in('NpuClearFloatStatus', [read], [[8]])
        with tf.control_dependencies([read]):
            return tf.reduce_all(tf.equal(self._device.sum_of(tf.identity(self._status)), cleared))

    def _adapt(self, finite: tf.Tensor) -> tf.Operation:
        """Counts the step; with a full count the scale grows or falls."""
        config = self._device.config

        def counted(own: tf.Variable, every: int, ratio: float, *others: tf.Variable) -> tf.Operation:
            def full() -> tf.Operation:
                scale = tf.maximum(self.scale * ratio, 1.)
                changed = tf.cond(tf.is_finite(scale), lambda: tf.group(self.scale.assign(scale)), tf.no_op)
                return tf.group(self._good.assign(0), self._bad.assign(0), changed)
            return tf.cond(own + 1 >= every, full,
                           lambda: tf.group(own.assign_add(1), *(other.assign(0) for other in others)))
        return tf.cond(finite, lambda: counted(self._good, config.loss_scale_growth_steps, 2.),
                       lambda: counted(self._bad, config.loss_scale_decay_overflows, .5, self._good))


def training(model: ModelConfig, data: DataConfig, config: TrainingConfig, device: PlannedNpu, batch: int,
             micro_batches: int = 1) -> list[Node]:
    """Returns the nodes of a training step.

    Args:
      model, data, config, device: of the job.
      batch: samples of the step.
      micro_batches: slices in which it computes them.
    """
    patch = data.patch_size
    with tf.Graph().as_default(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        tf.set_random_seed(data.seed)
        tf.train.get_or_create_global_step()
        lq = tf.placeholder(tf.uint8, [batch, model.num_frames, patch, patch, 3])
        gt = tf.placeholder(tf.uint8, [batch, model.upscale * patch, model.upscale * patch, 3])
        features = {'lq': lq, SET: tf.placeholder(tf.int32, [batch])}
        sets = len(data.sets) if data.input == 'tfrecords' and len(data.sets) > 1 else 0
        model_fn = make_model_fn(model, config.replace(init_from=''), device, sets=sets,
                                 micro_batches=micro_batches)
        spec = model_fn(features, gt, tf.estimator.ModeKeys.TRAIN)
        return graph.nodes_of([spec.train_op, spec.loss.op])


def export(model: ModelConfig, height: int, width: int, splits: bool) -> list[Node]:
    """Returns the nodes of the exported graph that `atc` converts, for single windows of frames of a size.

    Args:
      splits: whether each deform group is a call of the operator.
    """
    whole = WholeGraph(model, InterfaceConfig(batch_size=1, height=height, width=width))
    with tf.Graph().as_default() as built:
        whole.build(exported_ops(lambda *sizes: splits))
        return graph.nodes_of(built.get_operation_by_name(end.name) for end in whole.outputs)
