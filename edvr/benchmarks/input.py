"""The speed and cost of the input, compared with the needs of the accelerators."""
import os
import resource
import statistics
import time
from typing import Tuple

import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.benchmarks import measure as measuring
from edvr.benchmarks.measure import Result, Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.data import damage
from edvr.data.input_meter import InputMeter
from edvr.data.input_pipeline import train_dataset


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures the input, and prints what its speed means for the accelerators."""
    del runtime   # reading happens on the host
    result = measuring.in_child(measure, data, model.num_frames, model.upscale, benchmark.seconds, benchmark.repeats,
                                threads=1)   # as in training
    result.update(headroom(result['samples_per_s'], benchmark.step_ms, benchmark.step_samples))
    print('read %.1f MB/s, decoding threads busy %.0f%%, CPU %.2f ms/sample, resident %.0f MB' % (
        result['read_mb_per_s'], 100 * result['decoding_busy_share'], result['cpu_ms_per_sample'], result['rss_mb']))
    print(sentence(result, benchmark.cards, benchmark.step_ms, benchmark.step_samples))
    return [result]


def measure(config: DataConfig, num_frames: int, scale: int, seconds: float = 10., repeats: int = 5) -> Result:
    """Reads batches as fast as possible and discards them.

    Args:
      config: of the input.
      num_frames: T, frames of a window.
      scale: GT size / LQ size.
      seconds: to measure for, shared among the repeats.
      repeats: number of measurements.
    Returns:
      samples_per_s (median), samples_per_s_min, samples_per_s_max, read_mb_per_s (of records, from storage or the page
        cache), decoding_busy_share (of the threads that decode), cpu_ms_per_sample (of all threads),
        rss_mb (resident at the end).
    """
    with tf.Graph().as_default():
        meter = InputMeter(config.batch_size)
        iterator = tf.data.make_initializable_iterator(
            train_dataset(config, num_frames, scale, config.batch_size, meter=meter))
        (inputs, gt) = iterator.get_next()
        fetch = tf.group(inputs['lq'], gt)
        with tf.Session() as session:
            try:
                session.run(iterator.initializer)
                _warm_up(session, fetch, config)
                rates, counted = [], _Counters(meter)
                total = 0
                for _ in range(repeats):
                    samples, start = 0, time.perf_counter()
                    while samples == 0 or time.perf_counter() - start < seconds / repeats:
                        session.run(fetch)
                        samples += config.batch_size
                    rates.append(samples / (time.perf_counter() - start))
                    total += samples
            except tf.errors.OpError as error:
                raise damage.explain(error, config) or UserError('reading %s failed: %s'
                                                                 % (config.data_dir, error)) from error
            cpu, read, decoding, elapsed = counted.since()
            shape = 'lq [%d, %d, %d, %d, 3]' % (config.batch_size, num_frames, config.patch_size, config.patch_size)
            return dict(what='input', implementation=config.input, shape=shape, rss_mb=_resident_mb(),
                        samples_per_s=statistics.median(rates), samples_per_s_min=min(rates),
                        samples_per_s_max=max(rates), cpu_ms_per_sample=1e3 * cpu / total,
                        read_mb_per_s=read / 1e6 / elapsed, decoding_busy_share=min(1., decoding / elapsed))


def _warm_up(session, fetch, config):
    """Waits until shuffle buffer and prefetch are full: batches are slower before, and too fast just after."""
    batches = 3 if config.input == 'null' else 2 * config.prefetch + 8
    for _ in range(batches):
        session.run(fetch)


class _Counters:
    """Counts CPU time, bytes read, seconds that the decoding threads were busy, and time since it was made."""

    def __init__(self, meter: InputMeter) -> None:
        self._meter = meter
        self._start = self._now()

    def since(self) -> Tuple[float, ...]:
        """Returns the four differences."""
        return tuple(end - start for end, start in zip(self._now(), self._start))

    def _now(self):
        usage, count = resource.getrusage(resource.RUSAGE_SELF), self._meter.count()
        return usage.ru_utime + usage.ru_stime, count.read, count.decoding, time.perf_counter()


def _resident_mb():
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def headroom(samples_per_s: float, step_ms: float, step_samples: int) -> Result:
    """Returns the samples/s that steps of `step_ms` with `step_samples` need, and the measured speed over it."""
    needed = step_samples / step_ms * 1e3
    return dict(needed_samples_per_s=needed, headroom=samples_per_s / needed)


def sentence(result: Result, cards: int, step_ms: float, step_samples: int) -> str:
    """Returns '8 cards at 230 ms x 32 need 139/s: 4.3x headroom', or the share that the input reaches."""
    return '%d card%s at %g ms x %d need %.0f/s: %s' % (
        cards, '' if cards == 1 else 's', step_ms, step_samples, result['needed_samples_per_s'],
        '%.1fx headroom' % result['headroom'] if result['headroom'] >= 1 else
        'only %.0f%% of that is there; see --crops_per_record and --help' % (100 * result['headroom']))
