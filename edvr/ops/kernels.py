"""The table of backends that compute a network on a device, by the name that users give them."""
import contextlib
import typing

from edvr.devices import DEVICES
from edvr.ops import native_library
from edvr.ops.ascend import AscendOps
from edvr.ops.compiled import CompiledOps
from edvr.ops.stock import StockOps


def _stock(device, compute, float32_scope):
    return StockOps(DEVICES[device].ON_HOST, float32_scope)


def _compiled(device, compute, float32_scope):
    return CompiledOps(compute, float32_scope)


def _ascend(device, compute, float32_scope):
    from edvr.devices import adapter
    return AscendOps(adapter.deformable_conv2d, float32_scope)


KERNELS = {'tf': _stock, 'native': _compiled, 'npu': _ascend}


def resolve(name: str, device: str = 'cpu') -> str:
    """Returns the kernels that 'auto' selects on a device; other names are returned unchanged.

    Args:
      name: 'auto', 'tf', 'native' or 'npu'.
      device: 'cpu', 'gpu' or 'npu'.
    Returns:
      'tf', 'native' or 'npu'. Prints one line on stderr if 'auto' cannot use the compiled operators.
    Raises:
      ValueError: unknown name.
    """
    if name in KERNELS:
        return name
    if name != 'auto':
        raise ValueError('kernels are %r; they must be one of auto, %s' % (name, ', '.join(KERNELS)))
    return next(kernels for kernels in DEVICES[device].KERNELS if kernels != 'native' or native_library.available())


def make_ops(name: str, device: str = 'cpu', compute: str = 'exact',
             float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext) -> StockOps:
    """Returns the operations of a network that runs on a device.

    Args:
      name: see `resolve`.
      device: 'cpu', 'gpu' or 'npu'.
      compute: how the compiled operators compute convolutions, see `native_ops.conv`; others ignore it.
      float32_scope: see `StockOps`.
    """
    return KERNELS[resolve(name, device)](device, compute, float32_scope)
