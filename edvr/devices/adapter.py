"""The TensorFlow adapter of Ascend CANN. Only this module imports it, if an NPU is requested.

The adapter is npu_bridge for TensorFlow 1.15; for TensorFlow 2 (2.6 and 2.13 have one) the same modules are in
npu_device.compat.v1, without loss scaling.
"""
from __future__ import annotations

import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Sequence

import numpy as np

from data_tools.base.errors import UserError
from edvr.devices import adapter_options
from edvr.graph_mode import tf
from edvr.ops.ascend_nodes import MAX_WIDTH, OPERATOR

if TYPE_CHECKING:
    from edvr.config import RuntimeConfig

# below the adapter's prefix
_CONFIG = 'estimator.npu.npu_config'
_ESTIMATOR = 'estimator.npu.npu_estimator'
_OPTIMIZER = 'estimator.npu.npu_optimizer'
_LOSS_SCALE_OPTIMIZER = 'estimator.npu.npu_loss_scale_optimizer'
_LOSS_SCALE_MANAGER = 'estimator.npu.npu_loss_scale_manager'
_SCOPE = 'estimator.npu.npu_scope'
_HCCL = 'hccl.hccl_ops'
_CUBE = 'tbe.npu_cube_ops'

# arguments of NPURunConfig that are the options of the same name, if they are set
_SAME_NAMES = ('modify_mixlist', 'op_precision_mode', 'hccl_timeout', 'graph_memory_max_size',
               'variable_memory_max_size', 'auto_tune_mode', 'aoe_mode', 'op_compiler_cache_mode',
               'op_compiler_cache_dir', 'op_select_implmode')


def prefix() -> str:
    """Returns the package below which the adapter of this TensorFlow has its modules."""
    return 'npu_bridge' if tf.__version__.startswith('1.') else 'npu_device.compat.v1'


@functools.lru_cache(maxsize=None)
def _enable_v1(package: Any) -> None:
    """Makes the device of npu_device serve graphs of TensorFlow 1; once, for it resets TensorFlow's behaviour."""
    package.compat.enable_v1()


def _bridge(module: str, name: str) -> Any:
    """Returns the attribute `name` of a module of the adapter ('' is the package). Raises UserError if it is missing.
    """
    module = '.'.join(filter(None, [prefix(), module]))
    try:
        if prefix() != 'npu_bridge':
            _enable_v1(importlib.import_module('npu_device'))
        return getattr(importlib.import_module(module), name)
    except Exception as error:   # a half-installed adapter fails in many ways, all of which end here
        raise UserError(
            '--device=npu needs %s of %s, which does not load: %s: %s. It comes with the TensorFlow adapter of Ascend '
            'CANN, for TensorFlow 1.15 with Python 3.7, 2.6 with Python 3.7 to 3.9, or 2.13 (here: Python %d.%d, '
            'TensorFlow %s): install it and source its set_env.sh, or choose --device=gpu or --device=cpu'
            % ((name, module, type(error).__name__, _one_line(error)) + sys.version_info[:2] + (tf.__version__,))
        ) from error


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def require(config: RuntimeConfig | None = None) -> None:
    """Raises UserError if a part of the adapter that training with `config` uses is missing; the text names it.

    Args:
      config: the options of the run; without them only the modules are imported.
    """
    for module, name in ((_CONFIG, 'NPURunConfig'), (_ESTIMATOR, 'NPUEstimator'),
                         (_OPTIMIZER, 'NPUDistributedOptimizer'), (_SCOPE, 'keep_dtype_scope'),
                         (_HCCL, 'allreduce'), (_CUBE, 'deformable_conv2d')):
        _bridge(module, name)
    if config is None:
        return
    if config.loss_scale != 'off':
        if prefix() != 'npu_bridge':
            raise UserError('--loss_scale=%s: the adapter of TensorFlow 2 has no loss scaling for Estimators '
                            '(npu_device.compat.v1 comes without NPULossScaleOptimizer): use --loss_scale=off with a '
                            'precision mode that needs none, on Atlas A2 and A3 --precision_mode='
                            'must_keep_origin_dtype (allow_fp32_to_fp16 computes convolutions in float16), or '
                            'TensorFlow 1.15' % config.loss_scale)
        _bridge(_LOSS_SCALE_OPTIMIZER, 'NPULossScaleOptimizer')
        _bridge(_LOSS_SCALE_MANAGER, 'ExponentialUpdateLossScaleManager')
    _run_config('.', config, None)   # the adapter looks at values when it makes one


def release() -> str:
    """Returns the release of the adapter that the arguments of its NPURunConfig show; its __version__ is constant."""
    return adapter_options.release_of(adapter_options.defaults_of(_bridge(_CONFIG, 'NPURunConfig')))


def offload(proto: tf.ConfigProto, config: RuntimeConfig) -> None:
    """Makes a tf.Session with this configuration compute on the NPU, as NPUEstimator does for its own.

    It gets the precision mode and the options of `config` that differ from their defaults. It makes one step a call, so
    --iterations_per_loop has no effect.

    Raises:
      UserError: there is no adapter (its library, when it is loaded, takes over the graphs), or it lacks an option; a
        session cannot have an option.
    """
    _bridge('', '__version__')
    options = proto.graph_options.rewrite_options.custom_optimizers.add(name='NpuOptimizer').parameter_map
    options['use_off_line'].b = True
    options['mix_compile_mode'].b = False
    options['graph_run_mode'].i = 1   # the adapter's default, right for weights in variables; 0 is for frozen graphs
    options['iterations_per_loop'].i = 1
    options['job'].s = b'localhost'
    options['task_index'].i = 0
    values = _options(config)
    if config.hcom_parallel:   # the default
        del values['hcom_parallel']
    adapter_options.put(values, options)
    if config.profiling:
        options['profiling_mode'].b = True
        options['profiling_options'].s = config.profiling.encode()
    if config.dump_path:
        options['enable_dump'].b = True
        options['enable_dump_debug'].b = False
        options['dump_path'].s = config.dump_path.encode()
        if config.dump_step:
            options['dump_step'].s = config.dump_step.encode()
        options['dump_mode'].s = config.dump_mode.encode()


def make_estimator(model_fn: Callable, model_dir: str, config: RuntimeConfig, session_config: tf.ConfigProto,
                   seed: int | None = None) -> tf.estimator.Estimator:
    """Returns an NPUEstimator; arguments are those of `Device.make_estimator`.

    Args:
      session_config: a new object: the adapter writes into it.
    """
    require(config)
    run_config = _run_config(model_dir, config, session_config, seed)
    return _bridge(_ESTIMATOR, 'NPUEstimator')(model_fn=model_fn, config=run_config)


def _run_config(model_dir: str, config: RuntimeConfig, session_config: tf.ConfigProto | None,
                seed: int | None = None) -> Any:
    """Returns an NPURunConfig. Raises UserError with the adapter's message if it rejects the value of an option."""
    run_config = _bridge(_CONFIG, 'NPURunConfig')
    try:
        return run_config(**run_config_arguments(model_dir, config, session_config, seed))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError('NPURunConfig of the installed adapter refuses an option, or a variable of the environment: '
                        '%s: %s' % (type(error).__name__, _one_line(error))) from error


def run_config_arguments(model_dir: str, config: RuntimeConfig, session_config: tf.ConfigProto | None,
                         seed: int | None = None) -> dict[str, Any]:
    """Returns the keyword arguments for NPURunConfig. Options left empty are left to the adapter."""
    arguments = dict(
        model_dir=model_dir, session_config=session_config,
        tf_random_seed=None if seed is None else int(seed),
        # the adapter accepts only Python ints
        iterations_per_loop=int(config.iterations_per_loop),
        # Every rank acts as chief and all share one model directory, so the Estimator's own hooks must not write
        # there: 0 means never here (None would mean every 100 steps), and None stops its step counter.
        save_checkpoints_steps=0, save_summary_steps=0, log_step_count_steps=None)
    arguments.update(_options(config))
    if config.profiling:
        arguments['profiling_config'] = _bridge(_CONFIG, 'ProfilingConfig')(
            enable_profiling=True, profiling_options=config.profiling)
    if config.dump_path:
        arguments['dump_config'] = _bridge(_CONFIG, 'DumpConfig')(
            enable_dump=True, dump_path=config.dump_path, dump_step=config.dump_step or None,
            dump_mode=config.dump_mode)
    return arguments


def _options(config: RuntimeConfig) -> dict[str, Any]:
    """Returns the arguments of NPURunConfig that are the user's choice.

    Raises:
      UserError: names all that this adapter does not have.
    """
    precision = 'precision_mode_v2' if config.precision_mode_v2 else 'precision_mode'
    options = {precision: getattr(config, precision), 'hcom_parallel': config.hcom_parallel}
    flags = {precision: '--%s=%s' % (precision, options[precision]), 'hcom_parallel': '--hcom_parallel'}
    for name in _SAME_NAMES:
        if getattr(config, name):
            options[name] = getattr(config, name)
            flags[name] = '--%s=%s' % (name, options[name])
    if config.enable_exception_dump >= 0:
        options['enable_exception_dump'] = int(config.enable_exception_dump)
        flags['enable_exception_dump'] = '--enable_exception_dump'
    if config.npu_deterministic:
        options['deterministic'], flags['deterministic'] = 1, '--npu_deterministic'
    defaults = adapter_options.defaults_of(_bridge(_CONFIG, 'NPURunConfig'))
    problems = list(adapter_options.refusals(flags, defaults))
    others, more = adapter_options.parse(config.npu_option, defaults)
    problems += more
    if problems:
        raise UserError('; '.join(problems))
    return dict(options, **others)


def wrap_optimizer(optimizer: tf.train.Optimizer, config: RuntimeConfig, size: int) -> tf.train.Optimizer:
    """Returns an optimizer that averages gradients over `size` ranks, then, outermost, scales the loss."""
    if size > 1:
        optimizer = _bridge(_OPTIMIZER, 'NPUDistributedOptimizer')(optimizer)
    if config.loss_scale == 'off':
        return optimizer
    if config.loss_scale == 'fixed':
        manager = _bridge(_LOSS_SCALE_MANAGER, 'FixedLossScaleManager')(config.loss_scale_value)
    else:
        manager = _bridge(_LOSS_SCALE_MANAGER, 'ExponentialUpdateLossScaleManager')(
            init_loss_scale=config.loss_scale_value, incr_every_n_steps=config.loss_scale_growth_steps,
            decr_every_n_nan_or_inf=config.loss_scale_decay_overflows, incr_ratio=2, decr_ratio=0.5)
    wrapped = _bridge(_LOSS_SCALE_OPTIMIZER, 'NPULossScaleOptimizer')(optimizer, manager, is_distributed=size > 1)
    wrapped.edvr_manager = manager
    return wrapped


def loss_scale(optimizer: tf.train.Optimizer) -> tf.Tensor:
    """Returns the loss scale of this step, float32 [], of a loss scaling optimizer of `wrap_optimizer`."""
    return tf.convert_to_tensor(optimizer.edvr_manager.get_loss_scale())


def average(tensors: Sequence[tf.Tensor], size: int) -> list[tf.Tensor]:
    """Returns the means over `size` ranks of float32 tensors with static shapes, in one exchange."""
    shapes = [tensor.shape.as_list() for tensor in tensors]
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    means = tf.split(_bridge(_HCCL, 'allreduce')(flat, 'sum') / size, [int(np.prod(shape)) for shape in shapes])
    return [tf.reshape(mean, shape) for mean, shape in zip(means, shapes)]


def full_precision_scope() -> ContextManager[Any]:
    """Returns a context whose operations keep float32 under all precision options."""
    return _bridge(_SCOPE, 'keep_dtype_scope')()


class SameStepHook(tf.train.SessionRunHook):
    """Refuses to train when the ranks restored different checkpoints: they would wait for each other forever.

    The adapter broadcasts the weights of rank 0, not the step nor the optimizer's state.
    """

    def begin(self) -> None:
        step = tf.cast(tf.train.get_global_step(), tf.int32)   # collectives do not take int64
        allreduce = _bridge(_HCCL, 'allreduce')
        self._fetches = [step, allreduce(step, 'min'), allreduce(step, 'max')]

    def after_create_session(self, session: tf.Session, coord: tf.train.Coordinator) -> None:
        step, lowest, highest = session.run(self._fetches)
        if lowest != highest:
            raise UserError(
                'the ranks start from different checkpoints: this rank is at step %d, the others between %d and %d. '
                '--model_dir must hold the same checkpoints for all ranks: put it on a file system that all hosts share'
                % (step, lowest, highest))


def sample(x: tf.Tensor, offsets: tf.Tensor, kernel: int, deform_groups: int) -> tf.Tensor:
    """Adds the Ascend operator as the network uses it: odd kernel, stride 1, SAME size.

    Args:
      x: float32 or float16 [N, H, W, C]; H and W static.
      offsets: [N, H, W, 3*G*K*K], all dx, then all dy, then all masks, each group-major; the K*K kernel points
        row-major. Masks are used unchanged.
      kernel: K.
      deform_groups: G.
    Returns:
      [N, K*H, K*W, C], dtype of x: the samples, to be convolved with a stride of K.
    Raises:
      UserError: without the adapter, or wider than the operator takes; ValueError: sizes that the device could not run.
    """
    _check_offsets(x, offsets, 3 * deform_groups * kernel ** 2)
    if offsets.shape.as_list()[2] > MAX_WIDTH // kernel:
        raise UserError('features of %d pixels of width: the Ascend operator takes at most %d (%d / kernel width %d); '
                        'restore in tiles (--tile=640)'
                        % (offsets.shape.as_list()[2], MAX_WIDTH // kernel, MAX_WIDTH, kernel))
    pad = kernel // 2
    # the adapter has no function for the operator alone; the convolution that it adds is never run
    weight = tf.zeros([kernel, kernel, x.shape.as_list()[-1], 1], x.dtype)
    # a new list at each call, because the operator's wrapper writes into it
    result = _bridge(_CUBE, 'deformable_conv2d')(
        x, weight, offsets, strides=[1, 1, 1, 1], pads=(pad, pad, pad, pad), data_format='NHWC',
        dilations=(1, 1, 1, 1), groups=1, deformable_groups=int(deform_groups), modulated=True)
    sampled = result.op.inputs[0]
    if sampled.op.type != OPERATOR:
        raise UserError('deformable_conv2d of the installed adapter is not %s and a convolution, but ends in %s of %s: '
                        'use --kernels=tf, or another release of the adapter'
                        % (OPERATOR, result.op.type, sampled.op.type))
    return sampled


def _check_offsets(x: tf.Tensor, offsets: tf.Tensor, channels: int) -> None:
    """Checks shapes, which the adapter does not while the graph is built; on the device an error ends the process."""
    height, width, depth = offsets.shape.as_list()[1:]
    if height is None or width is None:
        raise ValueError('the offsets of the Ascend deformable convolution have shape %s; it needs static height and '
                         'width: use images of one size' % offsets.shape)
    if [height, width] != x.shape.as_list()[1:3] or depth != channels:
        raise ValueError('the offsets of the Ascend deformable convolution have shape %s; for an input of shape %s '
                         'they must be [N, H, W, %d]' % (offsets.shape, x.shape, channels))
