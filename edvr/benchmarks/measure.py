"""Functions of all benchmarks: the time of a repeated call, the fastest matrix product, a separate process."""
import concurrent.futures
import contextlib
import multiprocessing
import os
import statistics
import time
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.config import RuntimeConfig
from edvr.devices import DEVICES, device_of, host_memory
from edvr.ops import native_library, native_ops

TRAINING_FACTOR = 3   # forward, gradient to the inputs, gradient to the weights: each as much work as the first
Result = Dict[str, Any]
Results = List[Result]
PEAK_SIZE = 2048   # side of the square matrices whose product shows the peak
BLAS_VARIABLES = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS')


def median_seconds(call: Callable[[], Any], seconds: float, repeats: int, warm_up: int = 2) -> float:
    """Returns the median time of one call, in seconds.

    Args:
      call: function without arguments.
      seconds: time to spend, shared among the repeats; each makes at least one call.
      repeats: number of times that are measured.
      warm_up: calls before.
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


class Peak(NamedTuple):
    """Describes the float32 arithmetic of this machine with the threads of a run.

    Attributes:
      gflops: GFLOP/s of the fastest candidate.
      library: its name.
      product_gflops: GFLOP/s of the fastest product of matrices that lie in memory.
      product_library: its name.
    """
    gflops: float
    library: str
    product_gflops: float
    product_library: str


def matmul_peak(runtime: RuntimeConfig) -> Peak:
    """Measures the fastest product of large matrices, and the fastest arithmetic.

    Of products there are TensorFlow's, that of NumPy's BLAS and the compiled convolution's own. No single one is a
    yardstick: TensorFlow's reaches 70 to 100 % of the best, depending on its build. The register block of the compiled
    operators, with data in the first-level cache, is a candidate for the peak only: it shows what the processor
    computes when it waits for no memory. On a device other than the host only TensorFlow's product counts.
    """
    config, products, others = device_of(runtime).session_config(), [('TensorFlow', _tensorflow_product)], []
    if DEVICES[runtime.device].ON_HOST:
        products.append(('NumPy', _numpy_product))
        if native_library.available():
            products.append(('the compiled operators', _native_product))
            others.append(('the register block', _register_block))
    measured = [(product(config), library) for library, product in products]
    return Peak(*max(measured + [(other(config), library) for library, other in others]), *max(measured))


def _tensorflow_product(config):
    with tf.Graph().as_default():
        a = tf.Variable(np.ones([PEAK_SIZE, PEAK_SIZE], np.float32))
        return _product_gflops(a, tf.matmul(a, a), PEAK_SIZE ** 3, config)


def _native_product(config):
    """Measures a 1x1 convolution of the shape that the network's have: many pixels, few channels."""
    side, channels = PEAK_SIZE // 16, PEAK_SIZE // 8
    with tf.Graph().as_default():
        x = tf.Variable(np.ones([1, side, side, channels], np.float32))
        weight = tf.ones([1, 1, channels, channels])
        return _product_gflops(x, native_ops.conv([x], weight), side ** 2 * channels ** 2, config)


def _register_block(config):
    """Measures the register block, its operands as long as the channels of the network's kernels."""
    depth, units, repeats = PEAK_SIZE // 16, PEAK_SIZE // 32, PEAK_SIZE // 8
    with tf.Graph().as_default():
        a = tf.Variable(np.ones([depth], np.float32))
        y = native_ops.register_block(a, a, units, repeats)
        with tf.Session(config=config) as session:
            session.run(a.initializer)
            return _best_gflops(session.make_callable(y.op), session.run(y).size * depth * repeats)


def _product_gflops(variable, product, macs, config):
    with tf.Session(config=config) as session:
        session.run(variable.initializer)
        return _best_gflops(session.make_callable(product.op), macs)


def _numpy_product(config):
    a = np.ones([PEAK_SIZE, PEAK_SIZE], np.float32)
    out = np.empty_like(a)
    return _best_gflops(lambda: np.matmul(a, a, out=out), PEAK_SIZE ** 3)


def _best_gflops(call, macs):
    times = []
    for _ in range(8):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 2e-9 * macs / min(times)


def rates(seconds: float, flops: float, peak: Peak) -> Result:
    """Returns the rates that follow from time and work.

    Args:
      seconds: the time.
      flops: number of additions and multiplications.
      peak: of this machine.
    Returns:
      ms, gflops, matmul_peak_gflops, matmul_peak_of (the library), share_of_peak, bound_ms (the time at the
      peak), and of the fastest product product_gflops, product_of, share_of_product.
    """
    gflops = flops / seconds / 1e9
    return dict(ms=seconds * 1e3, gflops=gflops, matmul_peak_gflops=peak.gflops, matmul_peak_of=peak.library,
                share_of_peak=gflops / peak.gflops, bound_ms=flops / peak.gflops / 1e6,
                product_gflops=peak.product_gflops, product_of=peak.product_library,
                share_of_product=gflops / peak.product_gflops)


def training_ways(compare: Sequence[str], runtime: RuntimeConfig) -> List[Tuple[str, RuntimeConfig]]:
    """Returns (name, options) of each way to compute a training: the compiled operators have a fast and an exact one.

    Args:
      compare: names of kernels; empty means those of `runtime`.
      runtime: the other options.
    """
    ways = []
    for kernels in compare or (runtime.kernels,):
        chosen = runtime.replace(kernels=device_of(runtime.replace(kernels=kernels)).kernels)
        if chosen.kernels == 'native':
            ways += [('native', chosen.replace(convolutions='fast')),
                     ('native exact', chosen.replace(convolutions='exact'))]
        else:
            ways.append((chosen.kernels + ' mixed precision' * chosen.mixed_precision, chosen))
    return ways


def in_child(function: Callable[..., Result], *arguments: Any, threads: int = 0) -> Result:
    """Runs `function(*arguments)` in a new process, to measure the peak memory of this call alone.

    Args:
      function: of a module's top level; it returns a dict.
      threads: those of NumPy's BLAS, which reads them when it is loaded; 0 for one per core.
    Returns:
      That dict with 'peak_rss_mb' of the process.
    Raises:
      UserError: the process ended by itself, as for lack of memory, or an operation failed.
      Exception: what the function raised.
    """
    context = multiprocessing.get_context('spawn')
    with _blas_threads(threads), concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_with_peak, function, arguments).result()
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError('the measuring process ended by itself: out of memory? Take a smaller size or '
                            'batch') from None


@contextlib.contextmanager
def _blas_threads(threads):
    if not threads:
        yield
        return
    before = {name: os.environ.get(name) for name in BLAS_VARIABLES}
    os.environ.update(dict.fromkeys(BLAS_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _with_peak(function, arguments):
    host_memory.tune_malloc()
    try:
        result = function(*arguments)
    except tf.errors.OpError as error:   # holds the operation, which cannot be sent to another process
        raise UserError(error.message) from None
    return dict(result, peak_rss_mb=host_memory.peak_rss_mb())
