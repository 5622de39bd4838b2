"""The graphs of a job as an Ascend host builds them, without its adapter."""
from __future__ import annotations

import contextlib
import warnings
from typing import Any, ContextManager, Sequence

import tensorflow.compat.v1 as tf

from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.export import InterfaceConfig
from edvr.devices import npu_chips
from edvr.devices.npu import NpuDevice
from edvr.exporting.graphs import WholeGraph
from edvr.ops.ascend import AscendOps, exported_ops
from edvr.ops.stock import StockOps
from edvr.placement import graph
from edvr.placement.graph import Node
from edvr.training.model_fn import SET, make_model_fn


class PlannedNpu(NpuDevice):
    """Stands for an NPU whose adapter is not here: nodes take the place of its operators, and no graph is run."""

    def __init__(self, config: RuntimeConfig, size: int) -> None:
        """Sets the options, and the number of ranks of the job."""
        super().__init__(config)
        self._ranks = size

    def rank_and_size(self) -> tuple[int, int]:
        return 0, self._ranks

    def ops(self, compute: str | None = None) -> StockOps:
        return AscendOps(graph.sample, self._splits) if self.kernels == 'npu' else StockOps()

    def full_precision_scope(self) -> ContextManager[Any]:
        return contextlib.nullcontext()

    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        return _Averaging(optimizer, self) if self._ranks > 1 else optimizer

    def _loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor:
        return tf.constant(self.config.loss_scale_value)

    def _average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        means = tf.split(self.mean(flat), [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(mean, tensor.shape) for mean, tensor in zip(means, tensors)]

    def mean(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the mean of a tensor over the ranks."""
        return graph.stand_in('HcomAllReduce', [tensor], [tensor.shape])[0] / self._ranks


class _Averaging(tf.train.Optimizer):
    """Averages gradients over the ranks, one exchange a variable, as the adapter does."""

    def __init__(self, optimizer: tf.train.Optimizer, device: PlannedNpu) -> None:
        super().__init__(False, 'Averaging')
        self._optimizer, self._device = optimizer, device

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list[tuple[tf.Tensor, tf.Variable]]:
        return [(None if gradient is None else self._device.mean(gradient), variable)
                for gradient, variable in self._optimizer.compute_gradients(*args, **kwargs)]

    def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Operation:
        return self._optimizer.apply_gradients(*args, **kwargs)


def training(model: ModelConfig, data: DataConfig, config: TrainingConfig, runtime: RuntimeConfig, size: int,
             batch: int, micro_batches: int = 1) -> list[Node]:
    """Returns the nodes of a training step.

    Args:
      model, data, config, runtime: of the job.
      size: number of ranks.
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
        model_fn = make_model_fn(model, config.replace(init_from=''), PlannedNpu(runtime, size), sets=sets,
                                 micro_batches=micro_batches)
        spec = model_fn(features, gt, tf.estimator.ModeKeys.TRAIN)
        return graph.nodes_of([spec.train_op, spec.loss.op])


def _splits_by_default(channels: int, groups: int, open_batch: bool) -> bool:
    return npu_chips.place('auto', npu_chips.UNKNOWN, channels, groups, open_batch).split


def export(model: ModelConfig, height: int, width: int, batch: int = 1) -> list[Node]:
    """Returns the nodes of the exported graph that `atc` converts, for frames of a size and a fixed batch."""
    whole = WholeGraph(model, InterfaceConfig(batch_size=batch, height=height, width=width))
    with tf.Graph().as_default() as built:
        whole.build(exported_ops(_splits_by_default))
        return graph.nodes_of(built.get_operation_by_name(end.name) for end in whole.outputs)
