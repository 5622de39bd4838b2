"""The time until a program answers, until `edvr.infer` has written its first frame, and from PNG to PNG.

The clip is drawn; the network is untrained, with offsets that vary. Frames from PNG to PNG are those after the first
window; `ms_per_frame_in_memory` is the same of a Restorer, without files.
"""
import os
import tempfile
import time
from typing import List

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media.images import read_image
from edvr.benchmarks import child, measure
from edvr.benchmarks.measure import Result, Results
from edvr.benchmarks.restore import random_checkpoint, shape
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.benchmark import sizes
from edvr.devices import device_of
from edvr.restore.restorer import Restorer

_POLL_S = .005


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures `--help` of a program, the first frame of `edvr.infer`, and its frames from PNG to PNG."""
    results = [dict(what='startup', implementation='', shape='edvr.infer --help',
                    ms=1e3 * child.run('edvr.infer', '--help'))]
    for implementation in benchmark.compare or (runtime.kernels,):
        impl = device_of(runtime.replace(kernels=implementation)).kernels
        results += _restored(benchmark, model, runtime, impl)
    return results


def _restored(benchmark: BenchmarkConfig, model: ModelConfig, runtime: RuntimeConfig, impl: str) -> List[Result]:
    height, width = sizes(benchmark.frame_size)
    with tempfile.TemporaryDirectory() as folder:
        clip, out, network = (os.path.join(folder, name) for name in ('clip', 'restored', 'network'))
        child.draw_clip(clip, benchmark.frames, height, width)
        random_checkpoint(network, model)
        options = ['--checkpoint=' + network, '--device=' + runtime.device, '--kernels=' + impl,
                   '--intra_op_threads=%d' % runtime.intra_op_threads]
        child.run('edvr.infer', '--input=' + clip, '--output=' + os.path.join(folder, 'before'), *options)   # caches
        with child.started('edvr.infer', '--input=' + clip, '--output=' + out, *options) as (process, start):
            times = _arrivals(out, benchmark.frames, process)
        first = model.num_frames // 2 + 1
        ms = 1e3 * (times[-1] - times[first - 1]) / (len(times) - first)
        in_memory = measure.in_child(_in_memory, network, clip, first, runtime, impl, threads=runtime.intra_op_threads)
    text = shape(model, height, width)
    return [dict(what='startup', implementation=impl, shape='first frame of edvr.infer, ' + text,
                 ms=1e3 * (times[0] - start)),
            dict(in_memory, what='png to png', implementation=impl, shape=text, ms_per_frame=ms)]


def _arrivals(folder, count, process):
    """Returns when each of `count` files was seen in a folder, in seconds of time.perf_counter."""
    times: List[float] = []
    while len(times) < count:
        ended = process.poll() is not None
        found = len([name for name in os.listdir(folder) if name.endswith('.png')]) if os.path.isdir(folder) else 0
        times += [time.perf_counter()] * (found - len(times))
        if ended and found < count:
            raise UserError('edvr.infer ended after %d of %d frames' % (found, count))
        time.sleep(_POLL_S)
    return times


def _in_memory(network, clip, first, runtime, impl):
    frames = np.stack([read_image(os.path.join(clip, name)) for name in sorted(os.listdir(clip))])
    with Restorer(network, device=runtime.device, kernels=impl, intra_op_threads=runtime.intra_op_threads) as restorer:
        times = [time.perf_counter() for _ in restorer.restore_clip(frames, len(frames))]
    return dict(ms_per_frame_in_memory=1e3 * (times[-1] - times[first - 1]) / (len(times) - first))
