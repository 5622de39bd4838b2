"""The whole table: the deformable convolution, a training step, a restored frame, tiles and, with a set, reading it."""
import os
import sys

from data_tools.record.manifest import MANIFEST
from edvr.benchmarks import dcn, input, overhead, restore, step, tiles
from edvr.devices import DEVICES, device_of


def run(benchmark, model, data, runtime):
    """Runs every benchmark, each implementation that works here.

    Args:
      benchmark: BenchmarkConfig; without `compare`, native (where there is a compiler) and tf are compared.
      model: ModelConfig. data: DataConfig; its `data_dir` may be missing: then the input is not measured.
      runtime: RuntimeConfig.
    Returns:
      list of dicts, see the parts.
    """
    benchmark = benchmark.replace(compare=benchmark.compare or _implementations(device_of(runtime)))
    results = []
    for part in (dcn, step, restore):
        results += _announced(part, benchmark, model, data, runtime)
    if DEVICES[runtime.device].ON_HOST:   # --tile=auto measures the memory of the host
        results += _announced(tiles, benchmark, model, data, runtime)
    results.append(overhead.run(benchmark, model, data, runtime))
    if os.path.exists(os.path.join(data.data_dir, MANIFEST)):
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
