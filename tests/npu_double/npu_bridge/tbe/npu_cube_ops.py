"""deformable_conv2d: DeformableOffsets and an ordinary convolution, as in the adapter.

The operator is compiled at the first import, once for each TensorFlow and source.
"""
import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile

import tensorflow.compat.v1 as tf

from ..estimator.npu import releases

_SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'deformable_offsets.cc')


def _library():
    """Path of the compiled operator."""
    flags = tf.sysconfig.get_compile_flags() + tf.sysconfig.get_link_flags()
    if not any('-std=' in flag for flag in flags):
        flags.insert(0, '-std=c++14')
    with open(_SOURCE, 'rb') as file:
        key = hashlib.sha256(file.read() + ' '.join([tf.__version__] + flags).encode()).hexdigest()[:16]
    folder = os.path.join(tempfile.gettempdir(), 'npu_double_%d' % os.getuid())
    path = os.path.join(folder, 'deformable_offsets_%s.so' % key)
    if not os.path.exists(path):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle, partial = tempfile.mkstemp('.so', dir=folder)
        os.close(handle)
        # no -O3: TensorFlow's headers would take a minute
        subprocess.check_call([shutil.which('g++'), '-O1', '-shared', '-fPIC', '-w', _SOURCE, '-o', partial] + flags)
        os.rename(partial, path)
    return path


_operators = tf.load_op_library(_library())


def deformable_conv2d(x, filter, offsets, strides=None, pads=None, data_format='NHWC', dilations=(1, 1, 1, 1), groups=1,
                      deformable_groups=1, modulated=True, name=None):
    """Arguments and errors of the adapter's function; that of early 2021 writes into `strides`."""
    if not modulated:
        raise RuntimeError('modulated must be True')
    if groups != 1:
        raise RuntimeError('groups must be 1')
    kernel = filter.get_shape().as_list()[:2]
    sampled = _operators.deformable_offsets(
        x=x, offsets=offsets, strides=strides, pads=pads, ksize=kernel, dilations=dilations, data_format=data_format,
        deformable_groups=deformable_groups, modulated=True, name=name)
    steps = strides if releases.current() == releases.EARLY else list(strides)
    steps[data_format.find('H')], steps[data_format.find('W')] = kernel
    if data_format == 'NHWC':
        return tf.nn.conv2d(sampled, filter, steps, 'VALID', name=name)
    # TensorFlow's CPU has no convolution of NCHW
    result = tf.nn.conv2d(tf.transpose(sampled, [0, 2, 3, 1]), filter, [1] + kernel + [1], 'VALID', name=name)
    return tf.transpose(result, [0, 3, 1, 2])


def _gradient(op, grad):
    names = ('strides', 'pads', 'ksize', 'dilations', 'data_format', 'deformable_groups', 'modulated')
    return list(_operators.deformable_offsets_grad(
        grad, op.inputs[0], op.inputs[1], **{name: op.get_attr(name) for name in names}))


with contextlib.suppress(KeyError):   # a test imports this module again: the first gradient stays registered
    tf.RegisterGradient('DeformableOffsets')(_gradient)
