"""A test double of Huawei's npu_bridge v1.15.0, for the NPU path without an Ascend: put its parent on PYTHONPATH.

It computes on the CPU and behaves as the adapter: it demands, refuses, changes, ignores and adds the same. Collectives
use `npu_bridge.hccl.hccl_ops.transport`. It has only the parts that this project, or a comparison with the documented
behaviour of the adapter, needs. Like the original it needs TensorFlow 1.15.
"""
import tensorflow as tf

if not tf.__version__.startswith('1.15'):
    raise ImportError("cannot import name 'npu_bridge_handle' (like the original, this needs TensorFlow 1.15)")

__version__ = 'v1.15.0'
