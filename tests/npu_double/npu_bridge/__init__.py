"""A stand-in for Huawei's npu_bridge v1.15.0, for the NPU path without an Ascend: put its parent on PYTHONPATH.

It computes on the CPU and keeps the adapter's manners: what it demands, refuses, mutates, ignores and adds. Collectives
go through `npu_bridge.hccl.hccl_ops.transport`. Only what this project or a comparison with the adapter's documented
behaviour needs is here. Like the original it wants TensorFlow 1.15.
"""
import tensorflow as tf

if not tf.__version__.startswith('1.15'):
    raise ImportError("cannot import name 'npu_bridge_handle' (like the original, this needs TensorFlow 1.15)")

__version__ = 'v1.15.0'
