"""Measures speed and memory: input, a training step, restoration, tiles, the deformable convolution, or all of it.

  python -m edvr.benchmark --what=step --compare=native,tf
  python -m edvr.benchmark --what=restore --frame_size=180x320
  python -m edvr.benchmark --device=npu --what=dcn,step,restore --npu_dcn=split     and again with --npu_dcn=whole
  python -m edvr.benchmark --what=tiles --tiled=540x960:8,1080x1920:8
  python -m edvr.benchmark --what=input --data_dir=TFRECORDS --batch_size=32
  python -m edvr.benchmark --what=dcn --compare=native,tf,torchvision --json=dcn.json
  python -m edvr.benchmark --what=all --json=benchmarks/MACHINE.json; python -m edvr.benchmark_page

Each case runs in a separate process, to measure its peak memory. Times depend on the load of the machine: compare
implementations within one run, and machines by their share of the peak. One device of the host is measured, also inside
a job: --num_devices and the variables of a rank have no effect. A step has 4 samples unless --batch_size is given.
Restrict the cores with taskset. step and dcn take the options of an NPU, but a step is one call of the host, without
--iterations_per_loop; restore, tiles and startup have those of edvr.infer only.
"""
import importlib
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import files
from edvr import flags
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.config.host import HostConfig
from edvr.devices import device_of

CONFIGS = (BenchmarkConfig, ModelConfig, DataConfig, RuntimeConfig)
STEP_BATCH = 4   # of the published figures; a device's batch of 32 would take most of a minute on a CPU


def main() -> None:
    """Measures, and prints the results."""
    benchmark, model, data, runtime = flags.build_all(*CONFIGS)
    if {'step', 'all'} & set(benchmark.what) and not flags.FLAGS['batch_size'].present:
        data = data.replace(batch_size=STEP_BATCH)
    from edvr.benchmarks import machine, report
    from edvr.sharing import workers
    if benchmark.json:
        report.check_destination(benchmark.json)   # before minutes of measuring
    workers.take_one_device(runtime.device, HostConfig(num_devices=1), 'edvr.benchmark')
    runtime = runtime.replace(num_devices=1)
    for line in device_of(runtime).placement(model, training=bool({'dcn', 'step', 'all'} & set(benchmark.what))):
        print(line, flush=True)
    results = [result for subject in benchmark.what for result in
               importlib.import_module('edvr.benchmarks.' + subject).run(benchmark, model, data, runtime)]
    if 'step' in benchmark.what and benchmark.overhead:
        results.append(importlib.import_module('edvr.benchmarks.overhead').run(benchmark, model, data, runtime))
    for result in results:
        print(report.describe(result))
    for line in report.ratios(results):
        print(line)
    if benchmark.json:
        files.write_json(benchmark.json, dict(machine=machine.describe(runtime), results=results))


def run() -> None:
    """Runs the program."""
    flags.run(main, *CONFIGS)


if __name__ == '__main__':
    run()
