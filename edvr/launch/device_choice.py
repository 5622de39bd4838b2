"""Chooses the device of a program for --device=auto."""
import functools
import glob
import importlib.util
import typing

ADAPTERS = ('npu_bridge', 'npu_device')   # the adapters of TensorFlow 1.15 and of TensorFlow 2.6
NPU_FILES = '/dev/davinci[0-9]*'
# NVIDIA's driver; WSL 2; AMD's driver. Without any of them there is no GPU, and TensorFlow is not loaded to find out.
GPU_FILES = ('/dev/nvidia[0-9]*', '/dev/nvidiactl', '/dev/dxg', '/dev/kfd')


class Choice(typing.NamedTuple):
    """A device, 'npu', 'gpu' or 'cpu', and the reason for it as text."""
    device: str
    reason: str


@functools.lru_cache(maxsize=None)
def choose(asked='auto'):
    """The device of this process: the requested one, or for 'auto' the first that the host has.

    A host with an Ascend adapter or an Ascend card gets 'npu' even where the two do not work together: a user would
    notice only after hours that training runs on the CPU instead. The GPUs are those that TensorFlow sees.

    Returns:
      Choice.
    """
    if asked != 'auto':
        return Choice(asked, '--device')
    cards = sorted(glob.glob(NPU_FILES))
    installed = [name for name in ADAPTERS if importlib.util.find_spec(name)]
    if cards or installed:
        return Choice('npu', ' and '.join(['%s is installed' % name for name in installed[:1]]
                                          + ['%s is there' % name for name in cards[:1]]))
    without = 'no %s, no /dev/davinci*' % ' or '.join(ADAPTERS)
    files = [path for pattern in GPU_FILES for path in sorted(glob.glob(pattern))]
    if not files:
        return Choice('cpu', without + ', no GPU')
    from edvr.graph_mode import tf
    count = gpu_count()
    if count:
        return Choice('gpu', 'TensorFlow %s sees %d GPU%s' % (tf.__version__, count, '' if count == 1 else 's'))
    return Choice('cpu', '%s; %s is there, but TensorFlow %s sees no GPU: check nvidia-smi and the CUDA libraries'
                  % (without, files[0], tf.__version__))


def gpu_count():
    """The GPUs that TensorFlow sees, int; it allocates none of their memory, unlike device_lib.list_local_devices."""
    from edvr.graph_mode import tf
    return len(tf.config.experimental.list_physical_devices('GPU'))
