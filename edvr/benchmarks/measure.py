"""What all benchmarks share: time of a repeated call, the machine's matrix-product peak, a process of its own."""
import concurrent.futures
import multiprocessing
import statistics
import time

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.runtime import host_memory

PEAK_SIZE = 2048   # side of the square matrices whose product shows the peak


def median_seconds(call, seconds, repeats, warm_up=2):
    """Median time of one call.

    Args:
      call: function without arguments.
      seconds: float, time to spend, shared among the repeats; each makes at least one call.
      repeats: int, how many times are measured and their median taken.
      warm_up: int, calls before.
    Returns:
      float, seconds.
    """
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(repeats):
        calls, start = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - start < seconds / repeats:
            call()
            calls += 1
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def matmul_peak_gflops(config=None):
    """GFLOP/s of TensorFlow's product of square float32 matrices: what this machine, with these threads, can do.

    Args:
      config: tf.ConfigProto of the session, or None.
    """
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        a = tf.Variable(np.ones([PEAK_SIZE, PEAK_SIZE], np.float32))
        product = tf.matmul(a, a).op
        session.run(a.initializer)
        times = []
        for _ in range(8):
            start = time.perf_counter()
            session.run(product)
            times.append(time.perf_counter() - start)
    return 2e-9 * PEAK_SIZE ** 3 / min(times)


def rates(seconds, flops, peak_gflops):
    """The part of a result that follows from time and work: ms, gflops, matmul_peak_gflops, share_of_peak."""
    gflops = flops / seconds / 1e9
    return dict(ms=seconds * 1e3, gflops=gflops, matmul_peak_gflops=peak_gflops, share_of_peak=gflops / peak_gflops)


def in_child(function, *arguments):
    """`function(*arguments)` in a new process, so that its peak memory and its libraries are its own.

    Args:
      function: of a module's top level; it returns a dict.
    Returns:
      That dict with 'peak_rss_mb' of the process.
    Raises:
      UserError: the process ended by itself, as for lack of memory; or what the function raised.
    """
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_with_peak, function, arguments).result()
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError('the measuring process ended by itself: out of memory? Take a smaller size or '
                            'batch') from None


def _with_peak(function, arguments):
    host_memory.tune_malloc()
    result = function(*arguments)
    return dict(result, peak_rss_mb=host_memory.peak_rss_mb())
