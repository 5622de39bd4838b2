"""Restoring a frame in the tiles that --tile=auto chooses for a memory: work for a megapixel, and peak memory."""
import itertools
import sys
import time

import numpy as np

from edvr.benchmarks import measure
from edvr.benchmarks.measure import Results
from edvr.benchmarks.restore import shape, untrained_restorer
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.devices import device_of

_SMALL = 64   # pixels a side of the frame that is restored before measuring


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures one frame of noise of each size in `benchmark.tiled`, window by window.

    `cpu_s_per_megapixel` is CPU seconds of all threads for 10^6 LQ pixels.

    Raises:
      UserError: the device is not the CPU, or the memory is too small.
    """
    results = []
    for implementation in benchmark.compare or (runtime.kernels,):
        impl = device_of(runtime.replace(kernels=implementation)).kernels
        for case in benchmark.tiled_cases():
            print('restoring %dx%d with memory_gb=%g, %s ...' % (case + (impl,)), file=sys.stderr, flush=True)
            results.append(measure.in_child(_measure, model, runtime, impl, *case))
    return results


def _measure(model, runtime, impl, height, width, memory_gb):
    frame = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    with untrained_restorer(model, runtime, impl, tile='auto', memory_gb=memory_gb, cached=False) as restorer:
        # makes the graph, and measures the memory for a pixel
        restorer.restore(frame[None, :_SMALL, :_SMALL])
        restored = restorer.restore_clip(itertools.repeat(frame))
        start, cpu_start = time.perf_counter(), time.process_time()
        next(restored)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return dict(what='tiles', implementation=impl, ms_per_frame=1e3 * seconds, tiles=str(restorer.tiling),
                    shape='%s, memory_gb=%g' % (shape(model, height, width), memory_gb),
                    cpu_s_per_megapixel=cpu_seconds / (height * width / 1e6))
