"""The whole table: the deformable convolution, a training step, a restored frame, tiles and, with a set, reading it."""
import os
import sys

from data_tools.record.manifest import MANIFEST
from edvr.benchmarks import dcn, input, overhead, restore, step, tiles
from edvr.benchmarks.measure import Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.devices import DEVICES, device_of


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Runs every benchmark, each implementation that works here.

    Without `benchmark.compare`, native (if there is a compiler) and tf are compared. If `data.data_dir` is missing, the
    input is not measured.
    """
    benchmark = benchmark.replace(compare=benchmark.compare or _implementations(device_of(runtime)))
    results = []
    for part in (dcn, step, restore):
        results += _announced(part, benchmark, model, data, runtime)
    if DEVICES[runtime.device].ON_HOST:   # --tile=auto measures the memory of the host
        results += _announced(tiles, benchmark, model, data, runtime)
    results.append(overhead.run(benchmark, model, data, runtime))
    if all(os.path.exists(os.path.join(folder, MANIFEST)) for folder, _ in data.sets):
        results += _announced(input, benchmark, model, data, runtime)
    else:
        print('the input is not measured: %s has no %s' % (data.data_dir, MANIFEST), file=sys.stderr, flush=True)
    return results


def _implementations(device):
    kernels = device.available_kernels()
    return kernels if device.ON_HOST else kernels[:1]


def _announced(part, benchmark, model, data, runtime):
    print('measuring %s ...' % part.__name__.rpartition('.')[2], file=sys.stderr, flush=True)
    return part.run(benchmark, model, data, runtime)
