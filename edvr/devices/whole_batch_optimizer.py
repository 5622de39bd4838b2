"""Gradients of the whole batch under tf.distribute."""
from typing import Any, List, Optional, Sequence, Tuple

from edvr.graph_mode import tf


def all_reduce(reduce_op: tf.distribute.ReduceOp, tensors: Sequence[tf.Tensor]) -> List[tf.Tensor]:
    """Reduces each tensor over the replicas of the current strategy; call it in every replica, outside tf.cond.

    Args:
      reduce_op: tf.distribute.ReduceOp.
      tensors: one collective exchanges all of them if the strategy can.
    Returns:
      tensors, the same on every replica.
    """
    # ReplicaContext.all_reduce does this in a custom gradient, which fails on the names of mirrored variables
    def reduce(strategy: tf.distribute.Strategy, *values: Any) -> Tuple[Any, ...]:
        return tuple(strategy.extended.batch_reduce_to(reduce_op, [(value, value) for value in values]))
    return list(tf.distribute.get_replica_context().merge_call(reduce, args=tuple(tensors)))


class WholeBatchOptimizer(tf.train.Optimizer):
    """Makes `compute_gradients` return the mean over replicas, as NPUDistributedOptimizer does.

    A TensorFlow 1 optimizer under a strategy reduces only inside `apply_gradients`. Clipping or checking gradients
    before that would use the part of one replica, and differ from one process with the whole batch. The cost is a
    second all-reduce, of values that are already equal.
    """

    def __init__(self, optimizer: tf.train.Optimizer) -> None:
        super().__init__(False, 'WholeBatch' + optimizer.get_name())
        self._optimizer = optimizer

    def compute_gradients(self, *args: Any, **kwargs: Any) -> List[Tuple[Optional[tf.Tensor], tf.Variable]]:
        pairs = self._optimizer.compute_gradients(*args, **kwargs)
        # the Estimator divides each replica's loss by the number of replicas, so the sum is the mean
        sums = iter(all_reduce(tf.distribute.ReduceOp.SUM, [gradient for gradient, _ in pairs if gradient is not None]))
        return [(None if gradient is None else next(sums), variable) for gradient, variable in pairs]

    def apply_gradients(self, grads_and_vars: Any, global_step: Optional[tf.Variable] = None,
                        name: Optional[str] = None) -> tf.Operation:
        # the inner optimizer sums over replicas once more
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        shares = [(None if gradient is None else gradient / replicas, variable)
                  for gradient, variable in grads_and_vars]
        return self._optimizer.apply_gradients(shares, global_step, name)

    def get_slot(self, *args: Any, **kwargs: Any) -> Optional[tf.Variable]:
        return self._optimizer.get_slot(*args, **kwargs)

    def get_slot_names(self, *args: Any, **kwargs: Any) -> List[str]:
        return self._optimizer.get_slot_names(*args, **kwargs)

    def variables(self) -> List[tf.Variable]:
        return self._optimizer.variables()
