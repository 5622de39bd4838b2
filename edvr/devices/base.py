"""The interface of a device.

A *rank* is a process of the job: it reads its own share of the data. A *replica* is a copy of the model: one per rank,
except when one process drives several GPUs. Every replica has its own `--batch_size`. The rule everywhere: a loss
averaged over replicas is the loss of the whole batch (see `Device.loss_factor`), and the gradients that the wrapped
optimizer's `compute_gradients` returns are those of the whole batch, the same on every replica.
"""
from __future__ import annotations

import abc
import contextlib
import os
import warnings
from typing import TYPE_CHECKING, Any, Callable, ContextManager, NamedTuple, Sequence

from data_tools.base.errors import UserError
from edvr.launch import tf_config
from edvr.launch.plan import Plan
from edvr.launch.relaunch import LAUNCHED

if TYPE_CHECKING:
    from edvr.config import ModelConfig, RanksConfig, RuntimeConfig
    from edvr.config.host import HostConfig
    from edvr.graph_mode import tf
    from edvr.ops.stock import StockOps


class Presence(NamedTuple):
    """Whether a host has a device.

    Attributes:
      found: whether it is there.
      reason: what was found, or what is absent.
    """
    found: bool
    reason: str


class Device(abc.ABC):
    """A device with the options of a run.

    Attributes:
      config: RuntimeConfig.
      NAME: the value of --device.
      KERNELS: the values of --kernels that the device has, beside auto, fastest first.
      RANK_VARIABLE: the environment variable that says which rank this process is.
      ON_HOST: whether the network is computed by the cores and in the memory of the host.
      STATIC_SHAPES: whether each size of frames needs a graph of its own.
      HIDES_OVERFLOWS: whether gradients that overflow under a loss scale may look finite.
      MEASURES_INPUT_WAIT: whether a step can measure how long it waits for its batch.
      VALIDATION_DEVICE: the device that computes validation while this one trains.
    """

    NAME: str
    KERNELS: tuple[str, ...]
    RANK_VARIABLE: str
    ON_HOST = False
    STATIC_SHAPES = False
    HIDES_OVERFLOWS = False
    MEASURES_INPUT_WAIT = True
    VALIDATION_DEVICE = 'cpu'

    def __init__(self, config: RuntimeConfig):
        self.config = config

    # choice and options

    @classmethod
    @abc.abstractmethod
    def presence(cls) -> Presence:
        """Returns whether --device=auto may choose the device on this host, and why."""

    @classmethod
    def option_problems(cls, config: RuntimeConfig) -> list[str]:
        """Returns a text for each option that does not fit another one on this device."""
        return []

    # processes

    def plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        """Plans this process: it trains, trains with a changed environment, or starts the ranks of this host.

        A process whose environment says which rank it is starts no others.

        Args:
          ranks: hosts, ports and rank table of the job.
          batch_size: samples per step of each replica, for advice.
          log_dir: folder for a rank table.
        Raises:
          UserError: devices, hosts and ranks do not fit each other.
        """
        if self._is_rank():
            found = Plan({}, {}, [] if LAUNCHED in os.environ else self._notes_of_a_rank())
        else:
            found = self._plan_ranks(ranks, batch_size, log_dir)
        return found._replace(changes=dict(tf_config.without_cluster(), **found.changes))

    def _is_rank(self) -> bool:
        """Returns whether the environment says which rank of a job this process is."""
        return self.RANK_VARIABLE in os.environ

    @abc.abstractmethod
    def _plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        """Plans a process that is no rank of a job yet."""

    @abc.abstractmethod
    def _notes_of_a_rank(self) -> list[str]:
        """Returns lines that tell the user that this process is a rank of a job that another program started."""

    @classmethod
    @abc.abstractmethod
    def plan_workers(cls, host: HostConfig) -> Plan:
        """Plans the processes that share a restoration: this one, or one for each device of the host.

        Raises:
          UserError: there are fewer devices than requested.
        """

    @abc.abstractmethod
    def rank_and_size(self) -> tuple[int, int]:
        """Returns the number of this process, from 0, and the number of processes of the job.

        Raises:
          UserError: the environment does not define them.
        """

    @abc.abstractmethod
    def rendezvous_address(self, port: int) -> tuple[str, int]:
        """Returns (host, port) at which the ranks of a job of several ranks exchange their options.

        Args:
          port: --port, the first of the ports of the job.
        """

    @property
    def is_writer(self) -> bool:
        """Returns whether this process writes the model directory: only rank 0 does."""
        return self.rank_and_size()[0] == 0

    @abc.abstractmethod
    def num_replicas(self) -> int:
        """Returns the copies of the model in the whole job: the whole batch is this times `--batch_size`."""

    # before the start

    def problems(self, counts: dict[str, int], loss_reduction: str) -> list[str]:
        """Returns a text for each thing wrong with the environment, or with options of the training.

        Args:
          counts: {flag: number of steps}; 0 means off.
          loss_reduction: 'sum' or 'mean', how the loss treats the samples of one batch.
        """
        return []

    def resume_problems(self, step: int, counts: dict[str, int]) -> list[str]:
        """Returns a text for each reason why a run cannot continue from `step`; `counts` are those of `problems`."""
        return []

    @abc.abstractmethod
    def require(self) -> None:
        """Raises UserError if the device is absent: TensorFlow would compute elsewhere without a message."""

    def placement(self, model: ModelConfig, training: bool = False) -> list[str]:
        """Returns lines that say on which part of the device operations of a network run, if that matters.

        Args:
          model: the network.
          training: whether gradients are computed too.
        """
        return []

    def versions(self) -> dict[str, str]:
        """Returns {name: version} of software of the device that no module states."""
        return {}

    def explain(self, error: Exception) -> str:
        """Returns what a failure of a session of the device means and its remedy; '' if it is unknown."""
        return ''

    # graphs and sessions

    def available_kernels(self) -> tuple[str, ...]:
        """Returns those of KERNELS that this host can run, fastest first."""
        return self.KERNELS

    @property
    def kernels(self) -> str:
        """Returns the kernels of the network: those of --kernels, or for auto the fastest that the host can run."""
        return self.available_kernels()[0] if self.config.kernels == 'auto' else self.config.kernels

    def ops(self, compute: str | None = None) -> StockOps:
        """Returns the operations with which a network is built for the device.

        Args:
          compute: how the compiled operators compute convolutions: 'exact', 'fast' or 'bf16'; other kernels ignore it.
            None is --convolutions.
        """
        from edvr.ops.stock import StockOps
        return StockOps(self.ON_HOST, self.full_precision_scope)

    def session_config(self) -> tf.ConfigProto:
        """Returns the configuration of a tf.Session that computes on the device.

        Raises:
          UserError: the errors of `require`.
        """
        return self._host_config()

    def restoring_config(self) -> tf.ConfigProto:
        """Returns the configuration of a tf.Session that restores on the device; raises as `session_config`."""
        return self.session_config()

    def _host_config(self) -> tf.ConfigProto:
        """Returns what all devices have in common, in a new object."""
        from edvr.graph_mode import tf
        proto = tf.ConfigProto(allow_soft_placement=True, intra_op_parallelism_threads=self.config.intra_op_threads,
                               inter_op_parallelism_threads=self.config.inter_op_threads)
        # the memory optimizer of TensorFlow 2.15 logs many lines for operators of open sizes, and gains nothing here
        proto.graph_options.rewrite_options.memory_optimization = proto.graph_options.rewrite_options.NO_MEM_OPT
        return proto

    def full_precision_scope(self) -> ContextManager[Any]:
        """Returns a context whose operations keep float32 under all precision options (the large sums of the loss)."""
        return contextlib.nullcontext()

    # training

    @abc.abstractmethod
    def make_estimator(self, model_fn: Callable, model_dir: str, seed: int | None = None) -> tf.estimator.Estimator:
        """Returns the Estimator that trains `model_fn` on the device.

        It saves, logs and summarises nothing itself: the hooks of the model_fn do that, in the same way on every device
        and on rank 0 only (`is_writer`). All ranks use the same `model_dir`, so that all restore the same checkpoint.

        Args:
          model_fn: model_fn(features, labels, mode) -> EstimatorSpec.
          model_dir: directory of the checkpoints.
          seed: graph-level random seed; on several ranks the initial weights are rank 0's.
        Raises:
          UserError: the device is absent.
        """

    def train(self, estimator: tf.estimator.Estimator, input_fn: Callable, hooks: Sequence[tf.train.SessionRunHook],
              max_steps: int) -> None:
        """Runs the Estimator of `make_estimator` until `max_steps` or until a hook requests a stop.

        Args:
          estimator: result of `make_estimator`.
          input_fn: function without arguments -> tf.data.Dataset of this rank's batches for one replica.
          hooks: hooks for this process.
          max_steps: the global step to end at.
        """
        # the Estimator of TensorFlow 2 reads the options of data sets in a deprecated way, and warns about itself
        warnings.filterwarnings('ignore', 'To make it possible to preserve tf.data options')
        self._train(estimator, input_fn, list(hooks) + self.training_hooks(), max_steps)

    def _train(self, estimator: tf.estimator.Estimator, input_fn: Callable, hooks: list[tf.train.SessionRunHook],
               max_steps: int) -> None:
        estimator.train(input_fn, hooks, max_steps=max_steps)

    def training_hooks(self) -> list[tf.train.SessionRunHook]:
        """Returns the hooks that the device needs in training, beside those of the model_fn."""
        return []

    def loss_factor(self, reduction: str) -> float:
        """Returns the factor on a replica's loss with which the mean over replicas is the loss of the whole batch.

        Args:
          reduction: 'sum' or 'mean', how the loss treats the samples of one batch.
        Returns:
          the number of replicas for 'sum', 1 for 'mean'.
        """
        return float(self.num_replicas()) if reduction == 'sum' else 1.

    def wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        """Returns the optimizer for the device: whole-batch gradients, loss scaling, mixed precision.

        Call it in model_fn. `apply_gradients` skips the update, and global_step with it, when a loss scale overflows.
        """
        if self.config.loss_scale != 'off':
            _create_slots(optimizer)
        return self._wrap_optimizer(optimizer)

    @abc.abstractmethod
    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        """Returns the optimizer for the device. With a loss scale the optimizer's variables exist already."""

    def loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor | None:
        """Returns the loss scale of this step, float32 [], of a result of `wrap_optimizer`; None without loss scaling.
        """
        return None if self.config.loss_scale == 'off' else self._loss_scale(optimizer)

    def _loss_scale(self, optimizer: tf.train.Optimizer) -> tf.Tensor:
        raise UserError('--device=%s has no loss scaling' % self.NAME)

    def average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the mean over all replicas of each tensor (float32, static shape), the same on every replica.

        Call it in model_fn on every replica, outside tf.cond: it waits for all of them. Decisions on which the replicas
        must agree (skip this update, roll back) use averaged values.
        """
        return list(tensors) if self.num_replicas() == 1 else self._average(tensors)

    @abc.abstractmethod
    def _average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the means over several replicas."""


def _create_slots(optimizer: tf.train.Optimizer) -> None:
    """Creates the variables of the optimizer: loss scaling would create them inside tf.cond, with other names."""
    from edvr.graph_mode import tf
    variables = tf.trainable_variables()

    def create(strategy: tf.distribute.Strategy) -> None:
        with tf.init_scope():
            optimizer._create_slots(variables)
    tf.distribute.get_replica_context().merge_call(create)
