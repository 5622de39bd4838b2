"""The cost that training adds to a step: guard, moving averages, the hook with log line and curves, the data wait.

A bare session loop (`step.train_op`) and a session as the Estimator runs it alternate, step by step, so that other load
of the machine affects both. Log line and TensorBoard point are made at every step, not every 20 or 100, so the result
is an upper bound. Checkpoints and validation are not counted.
"""
import contextlib
import io
import statistics
import tempfile
import time
from typing import List, Tuple

import tensorflow.compat.v1 as tf

from edvr.benchmarks import measure
from edvr.benchmarks.measure import Result
from edvr.benchmarks.step import train_op
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.data.input_pipeline import train_dataset
from edvr.devices import device_of
from edvr.tensorboard.run_record import RunRecord
from edvr.training.hooks import input_wait
from edvr.training.hooks.guard_hook import Guard
from edvr.training.hooks.log_line import LogLine
from edvr.training.hooks.pace import DeviceHours
from edvr.training.hooks.step_hook import Control, LoopHook
from edvr.training.hooks.summaries import Curves
from edvr.training.model_fn import make_model_fn

MIN_TURNS = 5


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Result:
    """Measures ms (of the whole step), bare_ms, and overhead: the median over turns of the two times' ratio, less 1."""
    return measure.in_child(_measure, benchmark, model, data, runtime)


def _measure(benchmark, model, data, runtime):
    tf.logging.set_verbosity(tf.logging.ERROR)   # the Estimator's classes warn about their own deprecation
    device = device_of(runtime)
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(_bare(model, data, device, benchmark.recompute_alignment))
        whole = stack.enter_context(_whole(model, data, device, benchmark.recompute_alignment))
        for _ in range(2):
            bare()
            whole()
        times: List[Tuple[float, float]] = []
        start = time.perf_counter()
        while len(times) < MIN_TURNS or time.perf_counter() - start < benchmark.seconds:
            times.append((_seconds(bare), _seconds(whole)))
    return dict(what='overhead', implementation=device.kernels,
                shape='lq [%d, %d, %d, %d, 3]' % (data.batch_size, model.num_frames, data.patch_size, data.patch_size),
                ms=1e3 * statistics.median(second for _, second in times),
                bare_ms=1e3 * statistics.median(first for first, _ in times),
                overhead=statistics.median(second / first for first, second in times) - 1)


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextlib.contextmanager
def _bare(model, data, device, recompute):
    """Yields a function that makes one update and nothing else."""
    with tf.Graph().as_default(), tf.Session(config=device.session_config()) as session:
        tf.set_random_seed(0)
        step = train_op(model, device, data.batch_size, data.patch_size, recompute, data.micro_batches)
        session.run(tf.global_variables_initializer())
        yield session.make_callable(step)


@contextlib.contextmanager
def _whole(model, data, device, recompute):
    """Yields a function that makes one update as training does, with all its parts."""
    training = TrainingConfig(ema_decay=.999, clip_norm=1e6, log_every=1, summary_every=1,
                              recompute_alignment=recompute)
    control, batch = Control(), data.batch_size
    with contextlib.ExitStack() as stack:
        record = stack.enter_context(RunRecord(stack.enter_context(tempfile.TemporaryDirectory()), 0))
        hours = DeviceHours(device.num_replicas())
        parts = [Guard(training, control), LogLine(training, batch, hours),
                 Curves(training, batch, 1, record, hours)]
        stack.enter_context(tf.Graph().as_default())
        dataset = train_dataset(data.replace(input='null'), model.num_frames, model.upscale, batch)
        iterator = tf.data.make_initializable_iterator(input_wait.timed(dataset))
        tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)   # as the Estimator does
        tf.train.get_or_create_global_step()
        spec = make_model_fn(model, training, device, micro_batches=data.micro_batches)(
            *iterator.get_next(), tf.estimator.ModeKeys.TRAIN)
        session = stack.enter_context(tf.train.MonitoredTrainingSession(
            hooks=[LoopHook(parts, control)], config=device.session_config(), save_summaries_steps=None,
            save_summaries_secs=None, log_step_count_steps=None))

        def step():
            with contextlib.redirect_stdout(io.StringIO()):
                session.run([spec.train_op, spec.loss])
        yield step
