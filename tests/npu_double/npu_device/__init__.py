"""A test double of the adapters of TensorFlow 2.6 and 2.13, in graph mode: `npu_device.compat.v1` is npu_bridge."""
import tensorflow as tf

if not tf.__version__.startswith(('2.6', '2.13')):
    raise ImportError('libtensorflow_framework.so.2: undefined symbol (as the originals, this needs its TensorFlow)')

from npu_device import compat  # noqa: F401 (as the original offers it)

__version__ = '2.6.5' if tf.__version__.startswith('2.6') else '2.13.0'
