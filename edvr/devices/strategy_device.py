"""What CPUs and GPUs have in common: replicas by tf.distribute, ranks by TF_CONFIG."""
from __future__ import annotations

import abc
import atexit
import os
from typing import TYPE_CHECKING, Any, Callable, Sequence

from edvr.devices.base import Device
from edvr.devices.startup_checks import failures
from edvr.launch import tf_config

if TYPE_CHECKING:
    from edvr.config import RanksConfig
    from edvr.graph_mode import tf
    from edvr.launch.plan import Plan


class StrategyDevice(Device):
    """A device of TensorFlow itself."""

    RANK_VARIABLE = tf_config.VARIABLE

    @abc.abstractmethod
    def replica_devices(self) -> list[str]:
        """Returns TensorFlow's names of the devices of this process, one for each replica, such as '/gpu:0'.

        Raises:
          UserError: the options request devices that are absent.
        """

    def require(self) -> None:
        self.replica_devices()

    def plan_ranks(self, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
        found = super().plan_ranks(ranks, batch_size, log_dir)
        if 'RANK_ID' in os.environ and not self._is_rank():
            found.notes.append('RANK_ID=%s is ignored: it is for --device=npu' % os.environ['RANK_ID'])
        return found

    def _is_rank(self) -> bool:
        return tf_config.has_cluster()

    def _notes_of_a_rank(self) -> list[str]:
        return ['this process is one rank of a job, for TF_CONFIG is set']

    def rank_and_size(self) -> tuple[int, int]:
        return tf_config.rank_and_size()

    def rendezvous_address(self, port: int) -> tuple[str, int]:
        return tf_config.address_of_rank_0()

    def num_replicas(self) -> int:
        return self.rank_and_size()[1] * len(self.replica_devices())

    def problems(self, counts: dict[str, int], loss_reduction: str) -> list[str]:
        return list(tf_config.problems()) or failures(self.replica_devices)

    def strategy(self) -> tf.distribute.Strategy | None:
        """Returns the strategy of the run, or None if one replica needs none."""
        from edvr.graph_mode import tf
        devices = self.replica_devices()
        if self.rank_and_size()[1] > 1:
            return tf.distribute.experimental.MultiWorkerMirroredStrategy()
        return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else None

    def make_estimator(self, model_fn: Callable, model_dir: str, seed: int | None = None) -> tf.estimator.Estimator:
        from edvr.graph_mode import tf

        def as_written(features: Any, labels: Any, mode: str) -> tf.estimator.EstimatorSpec:
            # strategies rewrite Python control flow (autograph), which this model_fn does not need
            return tf.autograph.experimental.do_not_convert(model_fn)(features, labels, mode)

        return tf.estimator.Estimator(as_written, config=tf.estimator.RunConfig(
            model_dir=model_dir, tf_random_seed=seed, session_config=self.session_config(),
            train_distribute=self.strategy(), save_summary_steps=0, save_checkpoints_steps=None,
            save_checkpoints_secs=None, log_step_count_steps=None))

    def _train(self, estimator: tf.estimator.Estimator, input_fn: Callable, hooks: list[tf.train.SessionRunHook],
               max_steps: int) -> None:
        if not estimator.config.cluster_spec:
            super()._train(estimator, input_fn, hooks, max_steps)
            return
        from edvr.graph_mode import tf
        atexit.register(_forget_server)
        # a strategy over several processes needs this call; the second specification is for evaluator tasks only,
        # which `tf_config` refuses
        tf.estimator.train_and_evaluate(
            estimator, tf.estimator.TrainSpec(input_fn, max_steps, hooks), tf.estimator.EvalSpec(input_fn))

    def _wrap_optimizer(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        if self.num_replicas() == 1:
            return optimizer
        from edvr.devices.whole_batch_optimizer import WholeBatchOptimizer
        return WholeBatchOptimizer(optimizer)

    def _average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        from edvr.devices.whole_batch_optimizer import all_reduce
        from edvr.graph_mode import tf
        return all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def _forget_server() -> None:
    """Stops the server of TensorFlow 1.15 in time: at the end of the interpreter it would print a traceback."""
    from tensorflow.python.distribute import distribute_coordinator
    vars(distribute_coordinator._thread_local).pop('server', None)
