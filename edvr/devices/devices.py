"""The differences between CPU, GPU and NPU: rank and size, session, Estimator, optimizer, exchange between replicas.

A *rank* is a process of the job: it reads its own share of the data. A *replica* is a copy of the model: one per rank,
except where one process drives several GPUs. Every replica has its own `--batch_size`. The rule everywhere: a loss
averaged over replicas is the loss of the whole batch (see `loss_factor`), and the gradients that the wrapped
optimizer's `compute_gradients` returns are those of the whole batch, the same on every replica.
"""
import atexit
import contextlib
import warnings

from data_tools.base.errors import UserError
from edvr.devices import npu
from edvr.devices.distributed_optimizer import WholeBatchOptimizer, all_reduce
from edvr.graph_mode import tf
from edvr.launch import device_choice, tf_config


def rank_and_size(config):
    """The number of this process (0-based) and the number of processes: `(rank, size)`, ints.

    NPU: RANK_ID and RANK_SIZE. CPU and GPU: the place in TF_CONFIG's cluster; alone without TF_CONFIG.
    Raises UserError when these variables cannot be understood.
    """
    if config.device == 'npu':
        return npu.rank_and_size()
    return tf_config.rank_and_size()


def num_replicas(config):
    """Copies of the model in the whole job, int: the whole batch is this times `--batch_size`."""
    _, size = rank_and_size(config)
    if config.device == 'npu':
        return size
    return size * (len(gpus(config)) if config.device == 'gpu' else config.cpu_replicas)


def loss_factor(reduction, config):
    """The factor on a replica's loss with which the mean over replicas is the loss of the whole batch.

    Args:
      reduction: 'sum' or 'mean', how the loss treats the samples of one batch.
    Returns:
      float: the number of replicas for 'sum', 1 for 'mean'.
    """
    return float(num_replicas(config)) if reduction == 'sum' else 1.


def gpus(config):
    """Names of the GPUs to use, such as ['/gpu:0', '/gpu:1']. Raises UserError when they are not there."""
    found = device_choice.gpu_count()
    if not found:
        raise UserError('--device=gpu, but TensorFlow %s sees no GPU: check nvidia-smi, CUDA_VISIBLE_DEVICES and '
                        'the CUDA version of this TensorFlow, or use --device=cpu' % tf.__version__)
    if config.num_devices > found:
        raise UserError('--num_devices=%d, but TensorFlow sees only %d GPUs on this host; check CUDA_VISIBLE_DEVICES'
                        % (config.num_devices, found))
    if 0 < config.num_devices < found and tf_config.size() > 1:
        raise UserError('--num_devices=%d, but TensorFlow sees %d GPUs on this host: a job over several processes '
                        'takes all that it sees, so choose them with CUDA_VISIBLE_DEVICES, or give --num_devices=0'
                        % (config.num_devices, found))
    return ['/gpu:%d' % index for index in range(config.num_devices or found)]


def session_config(config):
    """tf.ConfigProto for a tf.Session that computes on the device; UserError where an NPU lacks npu_bridge."""
    proto = _base_config(config)
    if config.device == 'npu':
        npu.offload(proto, config)
    return proto


def _base_config(config):
    """The same for an NPUEstimator, which adds its own options."""
    proto = tf.ConfigProto(allow_soft_placement=True, intra_op_parallelism_threads=config.intra_op_threads,
                           inter_op_parallelism_threads=config.inter_op_threads)
    # the memory optimizer of TensorFlow 2.15 logs many lines for operators of open sizes, and gains nothing here
    proto.graph_options.rewrite_options.memory_optimization = proto.graph_options.rewrite_options.NO_MEM_OPT
    if config.device == 'gpu':
        proto.gpu_options.allow_growth = config.gpu_memory_growth
    elif config.device == 'npu':
        npu.prepare_session_config(proto)
    if config.device != 'gpu':
        proto.device_count['GPU'] = 0
    if config.device == 'cpu':
        proto.device_count['CPU'] = config.cpu_replicas
    return proto


def strategy(config):
    """The tf.distribute strategy of a CPU or GPU run, or None where one replica needs none."""
    if tf_config.size() > 1:
        if config.cpu_replicas > 1:
            raise UserError('--cpu_replicas=%d together with TF_CONFIG: the processes of TF_CONFIG have one '
                            'replica each'
                            % config.cpu_replicas)
        if config.device == 'gpu':
            gpus(config)
        return tf.distribute.experimental.MultiWorkerMirroredStrategy()
    if config.device == 'gpu':
        devices = gpus(config)
    else:
        devices = ['/cpu:%d' % index for index in range(config.cpu_replicas)]
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else None


def make_estimator(model_fn, model_dir, config, seed=None):
    """The Estimator that trains `model_fn` on the device.

    It saves, logs and summarises nothing itself: the hooks of the model_fn do that, in the same way on every device and
    on rank 0 only (`is_writer`). All ranks use the same `model_dir`, so that all restore the same checkpoint.

    Args:
      model_fn: model_fn(features, labels, mode) -> EstimatorSpec.
      model_dir: str.
      config: RuntimeConfig.
      seed: int or None, graph-level random seed; on several ranks the initial weights are rank 0's.
    Raises:
      UserError: the device is not there.
    """
    if config.device == 'npu':
        return npu.make_estimator(model_fn, model_dir, config, _base_config(config), seed)

    def as_written(features, labels, mode):
        # strategies rewrite Python control flow (autograph), which this model_fn does not need
        return tf.autograph.experimental.do_not_convert(model_fn)(features, labels, mode)

    run_config = tf.estimator.RunConfig(
        model_dir=model_dir, tf_random_seed=seed, session_config=session_config(config),
        train_distribute=strategy(config), save_summary_steps=0, save_checkpoints_steps=None,
        save_checkpoints_secs=None, log_step_count_steps=None)
    return tf.estimator.Estimator(as_written, config=run_config)


def train(estimator, input_fn, hooks, max_steps, config):
    """Runs the Estimator of `make_estimator` until `max_steps` or until a hook requests a stop.

    Args:
      input_fn: function without arguments -> tf.data.Dataset of this rank's batches for one replica.
      hooks: list of SessionRunHook for this process.
      max_steps: int, global step to end at.
      config: RuntimeConfig.
    """
    hooks = list(hooks) + training_hooks(config)
    # the Estimator of TensorFlow 2 reads the options of data sets in a deprecated way, and warns about itself
    warnings.filterwarnings('ignore', 'To make it possible to preserve tf.data options')
    if estimator.config.cluster_spec:
        atexit.register(_forget_server)
        # a strategy over several processes needs this call; the second specification is for evaluator tasks only,
        # which `cluster` refuses
        tf.estimator.train_and_evaluate(
            estimator, tf.estimator.TrainSpec(input_fn, max_steps, hooks), tf.estimator.EvalSpec(input_fn))
    else:
        estimator.train(input_fn, hooks, max_steps=max_steps)


def _forget_server():
    """Stops the server of TensorFlow 1.15 in time: at the end of the interpreter it would print a traceback."""
    from tensorflow.python.distribute import distribute_coordinator
    vars(distribute_coordinator._thread_local).pop('server', None)


def is_writer(config):
    """Whether this process writes the model directory: only rank 0 does."""
    return rank_and_size(config)[0] == 0


def wrap_optimizer(optimizer, config):
    """The optimizer for the device: whole-batch gradients, loss scaling, mixed precision.

    Call it in model_fn. `apply_gradients` skips the update, and global_step with it, when a loss scale overflows.
    """
    if config.loss_scale != 'off':
        _create_state(optimizer)
    if config.device == 'npu':
        return npu.wrap_optimizer(optimizer, config)
    if num_replicas(config) > 1:
        optimizer = WholeBatchOptimizer(optimizer)
    if config.mixed_precision:
        optimizer = tf.train.experimental.enable_mixed_precision_graph_rewrite(optimizer, _gpu_loss_scale(config))
    return optimizer


def loss_scale(optimizer, config):
    """The loss scale of this step, float32 tensor [], of a result of `wrap_optimizer`; None without loss scaling."""
    if config.loss_scale == 'off':
        return None
    if config.device == 'npu':
        return npu.loss_scale(optimizer)
    return tf.cast(optimizer._loss_scale(), tf.float32)   # TensorFlow has no public access to it


def _create_state(optimizer):
    """Creates the variables of the optimizer: loss scaling would create them inside tf.cond, with other names."""
    variables = tf.trainable_variables()

    def create(strategy):
        with tf.init_scope():
            optimizer._create_slots(variables)
    tf.distribute.get_replica_context().merge_call(create)


def _gpu_loss_scale(config):
    if config.loss_scale == 'dynamic':
        return tf.train.experimental.DynamicLossScale(
            initial_loss_scale=config.loss_scale_value, increment_period=config.loss_scale_growth_steps)
    return config.loss_scale_value if config.loss_scale == 'fixed' else 1.


def average(tensors, config):
    """The mean over all replicas of each tensor (float32, static shape), the same on every replica.

    Call it in model_fn on every replica, outside tf.cond: it waits for all of them. Decisions on which the replicas
    must agree (skip this update, roll back) use averaged values.
    """
    if num_replicas(config) == 1:
        return list(tensors)
    if config.device == 'npu':
        return npu.average(tensors)
    return all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def training_hooks(config):
    """Hooks that the device needs in training, beside those of the model_fn."""
    return npu.training_hooks() if config.device == 'npu' else []


def full_precision_scope(config):
    """A context whose operations keep float32 under all precision options (the large sums of the loss)."""
    return npu.full_precision_scope() if config.device == 'npu' else contextlib.nullcontext()
