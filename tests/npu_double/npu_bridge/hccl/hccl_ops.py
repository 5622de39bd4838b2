"""Collectives: they are checked when the graph is built, as in the adapter, and `transport` computes them.

transport(key, arrays, reduction) -> arrays: combines the `arrays` of all ranks; `reduction` is sum, prod, min, max,
'gather' or 'broadcast'; key: the number of the collective in its graph, and its tensors. Replace it to
simulate other ranks in one process.
"""
import numpy as np
import tensorflow.compat.v1 as tf

from .. import sockets

transport = sockets.exchange

_REDUCIBLE = (tf.int8, tf.int16, tf.int32, tf.float16, tf.float32)


def _run(tensors, reduction, shapes=None):
    """One collective for all `tensors`."""
    graph = tf.get_default_graph()
    # The device runs collectives in the order of the graph, so the ranks' n-th must be the same: the rest of the key
    # says what it is, for `sockets` to compare.
    earlier = graph.get_collection_ref('npu_double/collectives')
    key = '%d %s of %s' % (len(earlier), reduction, ' '.join(
        '%s:%s%s' % (tensor.op.name, tensor.dtype.base_dtype.name, tensor.shape) for tensor in tensors))
    earlier.append(key)

    def exchange(*arrays):
        return [np.asarray(result, array.dtype)
                for result, array in zip(transport(key, list(arrays), reduction), arrays)]

    results = tf.py_func(exchange, tensors, [tensor.dtype for tensor in tensors], name='Hcom')
    for result, shape in zip(results, shapes or [tensor.shape for tensor in tensors]):
        result.set_shape(shape)
    return results


def _check(tensor, allowed):
    if tensor.dtype.base_dtype not in allowed:
        raise TypeError("Value passed to parameter 'input' has DataType %s not in list of allowed values: %s"
                        % (tensor.dtype.name, ', '.join(kind.name for kind in allowed)))


def allreduce(tensor, reduction, fusion=1, fusion_id=-1, group='hccl_world_group'):
    return allreduce_many([tensor], reduction)[0]


def allreduce_many(tensors, reduction):
    """Several allreduces as the device does them: one exchange of fused gradients."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    for tensor in tensors:
        _check(tensor, _REDUCIBLE)
    if reduction not in ('min', 'max', 'prod', 'sum'):
        raise ValueError("Value for attr 'reduction' of \"%s\" is not in the list of allowed values: "
                         '"min", "max", "prod", "sum"' % reduction)
    return _run(tensors, reduction)


def allgather(tensor, rank_size, group='hccl_world_group'):
    tensor = tf.convert_to_tensor(tensor)
    _check(tensor, _REDUCIBLE + (tf.int64, tf.uint64))
    shape = tensor.shape.as_list()
    if not shape:
        raise ValueError('Shape must be at least rank 1 but is rank 0')
    if shape[0] is None and rank_size > 1:
        raise ValueError('Dimension %d must be >= 0' % -rank_size)
    return _run([tensor], 'gather', [[None if shape[0] is None else shape[0] * rank_size] + shape[1:]])[0]


def broadcast(tensor_list, root_rank, fusion=2, fusion_id=0, group='hccl_world_group'):
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError("Expected list for 'inputs' argument")
    if root_rank != 0:
        raise NotImplementedError('the root rank of the adapter is always 0')
    return _run([tf.convert_to_tensor(tensor) for tensor in tensor_list], 'broadcast')
