"""Measures speed and memory: reading data, a training step, restoration, or the deformable convolution alone.

  python -m edvr.benchmark --what=step --compare=native,tf
  python -m edvr.benchmark --what=restore --frame_size=180x320
  python -m edvr.benchmark --what=input --data_dir=TFRECORDS --batch_size=32
  python -m edvr.benchmark --what=dcn --compare=native,tf,torchvision --json=dcn.json

Each case runs in a process of its own, so that its peak memory is its own. Times depend on what else the machine does:
compare implementations within one run, and machines by their share of the matrix-product peak. A step has 4 samples
unless --batch_size says otherwise. Restrict the cores with taskset.
"""
import importlib
import json
import os

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import flags
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig

STEP_BATCH = 4   # of the published figures; a device's batch of 32 would take most of a minute on a CPU
COLUMNS = (('ms', '%.1f ms'), ('ms_per_frame', '%.1f ms per frame'),
           ('ms_per_frame_cached', '%.1f ms with kept features'), ('samples_per_s', '%.2f samples/s'),
           ('gflops', '%.1f GFLOP/s'), ('matmul_peak_gflops', 'of %.1f'), ('share_of_peak', '(%.0f%%)'),
           ('bare_ms', 'bare %.1f ms'), ('overhead', 'overhead %.1f%%'),
           ('peak_rss_mb', 'peak memory %.0f MB'))
PERCENT = ('share_of_peak', 'overhead')


def main():
    benchmark, model, data, runtime = flags.build_all(BenchmarkConfig, ModelConfig, DataConfig, RuntimeConfig)
    if benchmark.what == 'step' and not flags.FLAGS['batch_size'].present:
        data = data.replace(batch_size=STEP_BATCH)
    if benchmark.json:
        check_destination(benchmark.json)   # before minutes of measuring
    subject = importlib.import_module('edvr.benchmarks.' + benchmark.what)
    results = subject.run(benchmark, model, data, runtime)
    if benchmark.what == 'step' and benchmark.overhead:
        results.append(importlib.import_module('edvr.benchmarks.overhead').run(benchmark, model, data, runtime))
    for result in results:
        print(describe(result))
    for line in ratios(results):
        print(line)
    if benchmark.json:
        write(benchmark.json, dict(tensorflow=tf.__version__, results=results))


def describe(result):
    """One line of text for a result: a dict with any of the keys of COLUMNS, beside what, implementation, shape."""
    numbers = [text % (result[key] * (100 if key in PERCENT else 1)) for key, text in COLUMNS if key in result]
    head = ' '.join(str(result[key]) for key in ('what', 'implementation', 'shape') if key in result)
    return '%s: %s' % (head, ', '.join(numbers))


def ratios(results):
    """Yields a text for each result after the first of the same case: how much faster the first one is."""
    first = {}
    for result in results:
        case = (result.get('what'), result.get('shape'))
        other = first.setdefault(case, result)
        for key in ('ms', 'ms_per_frame', 'ms_per_frame_cached'):
            if other is not result and key in result:
                yield '%s %s: %s is %.2f times as fast as %s (%s)' % (case + (
                    other['implementation'], result[key] / other[key], result['implementation'], key))


def check_destination(path):
    """Raises UserError where the folder of a result file is not there, or is no place for files."""
    folder = os.path.dirname(path) or '.'
    if os.path.isdir(path) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UserError('--json=%s cannot be written: it must be a file in a folder that exists and takes files'
                            % path)


def write(path, value):
    """Raises UserError where the file cannot be written."""
    try:
        with open(path, 'w') as file:
            json.dump(value, file, indent=2, sort_keys=True)
            file.write('\n')
    except OSError as error:
        raise UserError('--json=%s cannot be written: %s' % (path, error)) from error


if __name__ == '__main__':
    flags.run(main, BenchmarkConfig, ModelConfig, DataConfig, RuntimeConfig)
