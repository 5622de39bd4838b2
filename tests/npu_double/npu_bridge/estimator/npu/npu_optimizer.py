"""NPUDistributedOptimizer: gradients averaged over ranks."""
import os

import tensorflow.compat.v1 as tf

from ...hccl import hccl_ops
from .job import job_info


def _rank_size():
    return int(os.environ.get('RANK_SIZE', '1'))   # ValueError for '' or 'abc', as in the original


def allreduce(tensor, average=True):
    return _allreduce_many([tensor], average)[0]


def _allreduce_many(tensors, average=True):
    if _rank_size() <= 1:
        return tensors
    info = job_info()
    if info is None:
        raise AttributeError("'NPUBasics' object has no attribute '_NPUBasics__job_info'")
    sums = hccl_ops.allreduce_many(tensors, 'sum')
    return [value / tf.cast(info.rank_size, value.dtype) for value in sums] if average else sums


class NPUDistributedOptimizer(tf.train.Optimizer):
    def __init__(self, optimizer, is_weight_update_sharding=False, name=None):
        super().__init__(False, name or 'Distributed%s' % type(optimizer).__name__)
        self._optimizer = optimizer

    def compute_gradients(self, *args, **kwargs):
        pairs = self._optimizer.compute_gradients(*args, **kwargs)
        if _rank_size() <= 1:
            return pairs
        if any(isinstance(gradient, tf.IndexedSlices) for gradient, _ in pairs):
            raise NotImplementedError('the test double averages dense gradients only')
        means = iter(_allreduce_many([gradient for gradient, _ in pairs if gradient is not None]))
        return [(None if gradient is None else next(means), variable) for gradient, variable in pairs]

    def apply_gradients(self, *args, **kwargs):
        return self._optimizer.apply_gradients(*args, **kwargs)

    def get_slot(self, *args, **kwargs):
        return self._optimizer.get_slot(*args, **kwargs)

    def get_slot_names(self, *args, **kwargs):
        return self._optimizer.get_slot_names(*args, **kwargs)

    def variables(self, *args, **kwargs):
        return self._optimizer.variables(*args, **kwargs)
