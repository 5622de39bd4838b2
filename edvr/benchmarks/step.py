"""The time of a training step: network, loss, gradients and Adam in a bare session loop."""
import numpy as np
import tensorflow.compat.v1 as tf

from edvr.benchmarks import measure
from edvr.benchmarks.measure import Results
from edvr.config import BenchmarkConfig, DataConfig, ModelConfig, RuntimeConfig
from edvr.devices import Device, device_of
from edvr.network import losses, networks
from edvr.training.micro_batches import MicroBatches


def run(benchmark: BenchmarkConfig, model: ModelConfig, data: DataConfig, runtime: RuntimeConfig) -> Results:
    """Measures each implementation, the compiled one in each of its ways, with samples that lie in memory."""
    return [measure.in_child(_measure, benchmark, model, data, way, name, threads=runtime.intra_op_threads)
            for name, way in measure.training_ways(benchmark.compare, runtime)]


def train_op(model: ModelConfig, device: Device, batch_size: int, patch_size: int,
             recompute_alignment: bool = False, micro_batches: int = 1) -> tf.Tensor:
    """Builds a training step on random samples that lie in memory, in the default graph.

    Args:
      model: the network.
      device: its operations, and its precision.
      batch_size, patch_size: of the samples.
      recompute_alignment: `recompute` of `Network.restore`.
      micro_batches: slices in which the batch is computed.
    Returns:
      A tensor whose evaluation makes one update: the loss, float32 [].
    """
    rng, size = np.random.RandomState(0), patch_size
    lq = rng.randint(0, 256, (batch_size, model.num_frames, size, size, 3)).astype(np.uint8)
    gt = rng.randint(0, 256, (batch_size, model.upscale * size, model.upscale * size, 3)).astype(np.uint8)
    # variables, because constants would be folded into the graph
    lq, gt = (tf.get_variable(name, initializer=value, trainable=False) for name, value in (('lq', lq), ('gt', gt)))

    ops = device.ops()

    def loss(lq, gt):
        return [losses.loss(networks.build(model).restore(ops, lq, recompute_alignment).sr, gt)]

    batch = MicroBatches(loss, [tf.identity(lq), tf.identity(gt)], micro_batches)
    update = device.wrap_optimizer(tf.train.AdamOptimizer(4e-4, .9, .99)).minimize(batch.loss)
    with tf.control_dependencies([update]):
        return tf.identity(batch.sums[0])


def _measure(benchmark, model, data, runtime, name):
    device = device_of(runtime)
    batch, patch = data.batch_size, data.patch_size
    peak = measure.matmul_peak(runtime)
    with tf.Graph().as_default(), tf.Session(config=device.session_config()) as session:
        tf.set_random_seed(0)
        step = train_op(model, device, batch, patch, benchmark.recompute_alignment, data.micro_batches)
        session.run(tf.global_variables_initializer())
        seconds = measure.median_seconds(session.make_callable(step), benchmark.seconds, benchmark.repeats)
    work = 2 * measure.TRAINING_FACTOR * batch * networks.macs(model, patch, patch)
    shape = 'lq [%d, %d, %d, %d, 3], C=%d, G=%d' % (batch, model.num_frames, patch, patch, model.channels,
                                                  model.deform_groups)
    if data.micro_batches > 1:
        shape += ', %d slices' % data.micro_batches
    return dict(what='step', implementation=name, shape=shape, samples_per_s=batch / seconds,
                **measure.rates(seconds, work, peak))
