"""The time of restoring a frame: window by window, and with kept features.

The compiled operators are measured in each of their ways. The work is counted by the definition of a convolution, so
the fast ways may exceed the peak.
"""
import itertools
import os
import tempfile
from typing import Any, Dict, List

import numpy as np
import tensorflow.compat.v1 as tf

from edvr import checkpoints
from edvr.benchmarks import measure
from edvr.benchmarks.measure import Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.benchmark import sizes
from edvr.devices import device_of
from edvr.network import networks
from edvr.ops import native_library
from edvr.ops.stock import StockOps
from edvr.restore.restorer import Restorer
from edvr.restore.tiling import padded_size

_OFFSET_STDDEV = 0.02   # scale of the weights of the offset convolutions: offsets of some pixels, as after training


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures each implementation on noise in memory.

    The numbers with kept features have `_cached` in their names. Handing the frame out as float32 on the host is part
    of the time; files are not.
    """
    results = []
    for implementation in benchmark.compare or (runtime.kernels,):
        impl = device_of(runtime.replace(kernels=implementation)).kernels
        results += [_both(benchmark, model, runtime, impl, compute) for compute in _ways(impl)]
    return results


def _ways(impl):
    """Returns the ways in which convolutions can be computed here: the options of Restorer for each."""
    ways: List[Dict[str, Any]] = [{}]
    if impl == 'native':
        ways.append(dict(exact=True))
        if native_library.has_bfloat16():
            ways.append(dict(compute='bf16'))
    return ways


def _both(benchmark, model, runtime, impl, compute):
    result, cached = (measure.in_child(_measure, benchmark, model, runtime, impl, compute, kept,
                                       threads=runtime.intra_op_threads) for kept in (False, True))
    for name in ('ms_per_frame', 'gflops', 'share_of_peak', 'share_of_product', 'bound_ms', 'peak_rss_mb'):
        result[name + '_cached'] = cached[name]
    return result


def _measure(benchmark, model, runtime, impl, compute, cached):
    height, width = sizes(benchmark.frame_size)
    peak = measure.matmul_peak(runtime)
    rng = np.random.RandomState(0)
    frames = [rng.randint(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(2 * model.num_frames)]
    with untrained_restorer(model, runtime, impl, cached=cached, **compute) as restorer:
        restored = restorer.restore_clip(itertools.cycle(frames))
        # the first window of a clip costs more: the features of all its frames are new
        seconds = measure.median_seconds(lambda: next(restored), benchmark.seconds, benchmark.repeats,
                                         warm_up=model.num_frames // 2 + 2)
    padded = padded_size(height, width, model.size_multiple)
    macs = networks.macs(model, *padded)
    if cached:
        macs -= (model.num_frames - 1) * networks.extraction_macs(model, *padded)
    rates = measure.rates(seconds, 2 * macs, peak)
    name = ' '.join([impl] + ['exact' if value is True else value for value in compute.values()])
    return dict(rates, what='restore', implementation=name, shape=shape(model, height, width),
                ms_per_frame=rates.pop('ms'))


def shape(model: ModelConfig, height: int, width: int) -> str:
    """Returns the text for a window of frames of this size, and the network."""
    return 'lq [%d, %d, %d, 3], C=%d, G=%d' % (model.num_frames, height, width, model.channels, model.deform_groups)


def untrained_restorer(model: ModelConfig, runtime: RuntimeConfig, impl: str, **options: Any) -> Restorer:
    """Returns a Restorer of an untrained network with offsets that vary.

    Args:
      model: the network.
      runtime: its device and threads.
      impl: 'native', 'tf' or 'npu'.
      **options: other arguments of Restorer.
    """
    with tempfile.TemporaryDirectory() as folder:
        random_checkpoint(folder, model)
        return Restorer(folder, kernels=impl, device=runtime.device, intra_op_threads=runtime.intra_op_threads,
                        npu_dcn=runtime.npu_dcn, soc_version=runtime.soc_version,
                        **options)


def random_checkpoint(folder, model):
    """Writes a checkpoint of an untrained network, with offsets that vary."""
    rng, side = np.random.RandomState(0), model.size_multiple
    checkpoints.save_model_config(folder, model)
    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(device_count={'GPU': 0})) as session:
        tf.set_random_seed(0)
        networks.build(model).restore(StockOps(), tf.zeros([1, model.num_frames, side, side, 3]))
        session.run(tf.global_variables_initializer())
        offsets = [variable for variable in tf.global_variables() if 'conv_offset' in variable.op.name]
        session.run([variable.initializer for variable in offsets],
                    {variable.initializer.inputs[1]: rng.normal(0, _OFFSET_STDDEV, variable.shape)
                     for variable in offsets})
        tf.train.Saver().save(session, os.path.join(folder, checkpoints.BASENAME), global_step=0)
