"""The overflow mode of the device: NPU_DOUBLE_OVERFLOW is `saturation` (Ascend 910) or `inf_nan` (Atlas A2 and A3)."""
import os


def is_inf_nan_enabled():
    mode = os.environ.get('NPU_DOUBLE_OVERFLOW', 'saturation')
    if mode not in ('saturation', 'inf_nan'):
        raise ValueError('NPU_DOUBLE_OVERFLOW is %r' % mode)
    return mode == 'inf_nan'
