"""A test double of the adapter of TensorFlow 2.6, in graph mode: `npu_device.compat.v1` is npu_bridge, renamed."""
import tensorflow as tf

if not tf.__version__.startswith('2.6'):
    raise ImportError('libtensorflow_framework.so.2: undefined symbol (like the original, this needs TensorFlow 2.6)')

from npu_device import compat  # noqa: F401 (as the original offers it)

__version__ = '2.6.5'
