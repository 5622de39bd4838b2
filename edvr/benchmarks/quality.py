"""Quality over time: the PSNR on held-out clips after each minute of training the demonstration's network.

The time is what a user waits: from the start of `edvr.train` until a checkpoint is written, without validation. The
PSNR of the checkpoints is measured afterwards, over all frames, rounded as files store them.
"""
import os
import tempfile
import time
from typing import Dict, List

import numpy as np

from data_tools.base.errors import UserError
from data_tools.media.clips import find_clips
from edvr import checkpoints
from edvr.benchmarks import child, measure
from edvr.benchmarks.measure import Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.demonstration.steps import FLAGFILE, HELD_OUT_CLIPS
from edvr.evaluation.metrics import psnr
from edvr.restore.pixels import to_uint8
from edvr.restore.restorer import Restorer

_SAVE_EVERY = 50   # updates


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Trains with each implementation, the compiled one in each of its ways.

    `curve` has [seconds, step, dB] of each checkpoint; `ms` is the time until the last one, `psnr` its PSNR.

    Raises:
      UserError: no demonstration in `benchmark.demo_dir`, or a training fails.
    """
    clips, shards = (os.path.join(benchmark.demo_dir, name) for name in ('clips', 'tfrecords'))
    for folder in (clips, shards):
        if not os.path.isdir(folder):
            raise UserError('--demo_dir=%s has no folder %s; python -m edvr.demo --output_dir=%s makes it' % (
                benchmark.demo_dir, os.path.basename(folder), benchmark.demo_dir))
    results = []
    for name, way in measure.training_ways(benchmark.compare, runtime):
        with tempfile.TemporaryDirectory() as folder:
            times = _train(folder, shards, ['--kernels=' + way.kernels, '--device=' + runtime.device,
                                            '--seed=%d' % data.seed, '--convolutions=' + way.convolutions])
            result = measure.in_child(_curve, times, clips, way)
        seconds, _, last = result['curve'][-1]
        results.append(dict(result, what='quality', implementation=name, ms=1e3 * seconds, psnr=last,
                            shape='%s, seed %d' % (FLAGFILE, data.seed)))
    return results


def _train(run_dir: str, shards: str, options: List[str]) -> Dict[str, float]:
    """Trains; returns the seconds from the start until each checkpoint: {prefix: seconds}."""
    start = time.time()
    child.run('edvr.train', '--flagfile=' + FLAGFILE, '--data_dir=' + shards, '--model_dir=' + run_dir, '--val_dir=',
              '--save_every=%d' % _SAVE_EVERY, '--keep_last=1000', *options)
    return {prefix: os.path.getmtime(prefix + '.index') - start for prefix in checkpoints.prefixes(run_dir)}


def _curve(times, clips, runtime):
    curve = []
    found = find_clips(clips, clips=list(HELD_OUT_CLIPS), part='test')
    for prefix, seconds in times.items():
        with Restorer(prefix, device=runtime.device, kernels=runtime.kernels) as restorer:
            values = [psnr(to_uint8(sr), gt) for clip in found for sr, gt in zip(
                restorer.restore_clip(clip.lq.read(0), clip.length), clip.gt.read(0))]
        curve.append([seconds, restorer.step, float(np.mean(values))])
    return dict(curve=curve)
