"""The deformable convolution alone: forward, and forward with all gradients, per implementation."""
import importlib.util

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.benchmarks import measure
from edvr.benchmarks.measure import Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.benchmark import sizes
from edvr.devices import device_of

POINTS = 9


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures each implementation, 'dcn forward' and 'dcn training'."""
    results = []
    for implementation in benchmark.compare or (runtime.kernels,):
        function = _torchvision if implementation == 'torchvision' else _tensorflow
        if function is _torchvision and importlib.util.find_spec('torchvision') is None:
            raise UserError('--compare=torchvision, but torchvision is not installed')
        for training in (False, True):
            results.append(measure.in_child(function, benchmark, model, runtime, implementation, training,
                                            threads=runtime.intra_op_threads))
    return results


def _arguments(benchmark, model):
    """Returns x, offset, mask, weight, bias as float32 arrays; offsets of a few pixels."""
    N, H, W = sizes(benchmark.dcn_size)
    C, G, rng = model.channels, model.deform_groups, np.random.RandomState(0)
    shapes = ((N, H, W, C), (N, H, W, 2 * G * POINTS), (N, H, W, G * POINTS), (3, 3, C, C), (C,))
    return [(2 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]


def _result(benchmark, model, implementation, training, seconds, peak):
    N, H, W = sizes(benchmark.dcn_size)
    C, G = model.channels, model.deform_groups
    work = 2 * N * H * W * POINTS * C * C * (measure.TRAINING_FACTOR if training else 1)
    return dict(what='dcn training' if training else 'dcn forward', implementation=implementation,
                shape='x [%d, %d, %d, %d], G=%d' % (N, H, W, C, G), **measure.rates(seconds, work, peak))


def _tensorflow(benchmark, model, runtime, implementation, training):
    device, peak = device_of(runtime.replace(kernels=implementation)), measure.matmul_peak(runtime)
    with tf.Graph().as_default(), tf.Session(config=device.session_config()) as session:
        arguments = []
        for value in _arguments(benchmark, model):
            place = tf.placeholder(tf.float32, value.shape)
            arguments.append(tf.Variable(place, trainable=False))
            session.run(arguments[-1].initializer, {place: value})
        x, offset, mask, weight, bias = arguments
        out = device.ops().deform_conv2d(x, offset, mask, weight, bias, model.deform_groups)
        wanted = [out] + (tf.gradients(out, arguments, tf.ones_like(out)) if training else [])
        # one element of each result: all are computed, little is copied out
        call = session.make_callable(tf.stack([tensor[(0,) * tensor.shape.ndims] for tensor in wanted]))
        seconds = measure.median_seconds(call, benchmark.seconds, benchmark.repeats)
    return _result(benchmark, model, device.kernels, training, seconds, peak)


def _torchvision(benchmark, model, runtime, implementation, training):
    """Measures torchvision's operator; its layout, NCHW and interleaved offsets, does not change the time."""
    import torch
    import torchvision
    torch.set_num_threads(runtime.intra_op_threads or torch.get_num_threads())
    peak = measure.matmul_peak(runtime)
    arguments = _arguments(benchmark, model)
    x, offset, mask = (torch.from_numpy(np.ascontiguousarray(value.transpose(0, 3, 1, 2))) for value in arguments[:3])
    weight, bias = torch.from_numpy(arguments[3].transpose(3, 2, 0, 1).copy()), torch.from_numpy(arguments[4])
    tensors = [x, offset, weight, bias, mask]
    for tensor in tensors:
        tensor.requires_grad_(training)

    def call():
        out = torchvision.ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
        if training:
            torch.autograd.grad(out.sum(), tensors)
    seconds = measure.median_seconds(call, benchmark.seconds, benchmark.repeats)
    return _result(benchmark, model, implementation, training, seconds, peak)
