"""NPUEstimator and NPUEstimatorSpec."""
import inspect
import os
import random
import string
import sys

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from ... import npu_attrs
from . import npu_hook, releases, util
from .job import job_info
from .npu_config import NPURunConfig

_TRAIN, _EVAL = tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL


class NPUEstimatorSpec(tf.estimator.EstimatorSpec):
    """An EstimatorSpec with host_call, which `_replace` forgets: it returns a plain EstimatorSpec."""

    def __new__(cls, mode, predictions=None, loss=None, train_op=None, eval_metric_ops=None, export_outputs=None,
                training_chief_hooks=None, training_hooks=None, scaffold=None, evaluation_hooks=None,
                prediction_hooks=None, host_call=None):
        spec = super().__new__(
            cls, mode, predictions, loss, train_op, eval_metric_ops, export_outputs, training_chief_hooks,
            training_hooks, scaffold, evaluation_hooks, prediction_hooks)
        if host_call is not None:
            _check_host_call(host_call)
        spec._host_call = host_call
        return spec

    def _replace(self, **changes):
        return tf.estimator.EstimatorSpec(**dict(self._asdict(), **changes))


def _check_host_call(host_call):
    if not isinstance(host_call, (tuple, list)) or len(host_call) != 2:
        raise ValueError('host_call must be a tuple or list of (function, tensors)')
    function, tensors = host_call
    if not callable(function):
        raise TypeError('host_call[0] must be callable')
    if not isinstance(tensors, (tuple, list, dict)):
        raise ValueError('host_call[1] must be a list, tuple or dict')
    if isinstance(tensors, dict):
        return
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return
    if len(tensors) != len(parameters):
        raise RuntimeError('host_call has %d tensors for a function of %d arguments' % (len(tensors), len(parameters)))


class NPUEstimator(tf.estimator.Estimator):
    def __init__(self, model_fn=None, model_dir=None, config=None, params=None, job_start_file='',
                 warm_start_from=None):
        if not isinstance(config, NPURunConfig):
            raise ValueError('config must be an NPURunConfig, not %r' % (config,))
        warm_start_from = (warm_start_from or os.environ.get('LOCAL_CHECKPOINT_DIR')
                           or os.environ.get('RESTORE_FROM'))
        if job_info() is None and not warm_start_from:
            if releases.current() == releases.EARLY:
                raise AttributeError("'NPUEstimator' object has no attribute '_NPUEstimator__job_info'")
            raise ValueError('Load job info failed')
        if os.environ.get('CM_WORKER_SIZE') is not None and os.environ.get('RANK_SIZE') is not None:
            raise ValueError('RANK_SIZE and CM_WORKER_SIZE cannot be configured at the same time.')
        unexpected = set(inspect.signature(model_fn).parameters) - {'features', 'labels', 'mode', 'params', 'config'}
        if unexpected:
            raise ValueError('model_fn (%s) has following not expected args: %s' % (model_fn, sorted(unexpected)))
        if model_dir is None and config.model_dir is None:
            model_dir = 'model_dir_' + ''.join(random.choice(string.ascii_letters) for _ in range(10))
        session_config = config.session_config or tf.ConfigProto()
        _add_options(session_config, config)
        super().__init__(self._wrap(model_fn), model_dir, config.replace(session_config=session_config), params,
                         warm_start_from)

    def _wrap(self, model_fn):
        names = inspect.signature(model_fn).parameters

        def wrapped(features, labels, mode, params, config):
            given = dict(labels=labels, mode=mode, params=params, config=config)
            spec = model_fn(features=features, **{name: value for name, value in given.items() if name in names})
            return self._prepared(spec, mode, config)
        return wrapped

    def _prepared(self, spec, mode, config):
        """The spec with the hooks of the adapter before its hooks."""
        npu_attrs.check(config.session_config.graph_options.rewrite_options.custom_optimizers[-1].parameter_map)
        if mode not in (_TRAIN, _EVAL):
            return spec
        hooks, changes = [], {}
        host_call = getattr(spec, '_host_call', None)
        if mode == _TRAIN:
            size = os.environ.get('RANK_SIZE', '')
            if size.isdigit() and int(size) > 1 and not config.horovod_mode:
                hooks.append(npu_hook.NPUBroadcastGlobalVariablesHook())
            if config.save_checkpoints_steps or config.save_checkpoints_secs:
                hooks.append(npu_hook.NPUCheckpointSaverHook(
                    self.model_dir, config.save_checkpoints_secs, config.save_checkpoints_steps or None))
        if host_call is not None:
            changes['loss'], outfed = _outfeed(host_call, spec)
            hooks.append(npu_hook.NPUInfeedOutfeedSessionHook(outfed, 'train' if mode == _TRAIN else 'eval'))
        if isinstance(spec, NPUEstimatorSpec):
            hooks.append(npu_hook.NPULogOutfeedSessionHook(sys.stderr))
        if mode == _EVAL:
            return spec._replace(evaluation_hooks=hooks + list(spec.evaluation_hooks or ()), **changes)
        if config.iterations_per_loop > 1:
            changes['train_op'] = util.wrap_train_op(spec.train_op)
            hooks.append(npu_hook.SetIterationsVarHook(config.iterations_per_loop, changes['train_op']))
        return spec._replace(training_hooks=hooks + list(spec.training_hooks or ()), **changes)


def _outfeed(host_call, spec):
    """(loss that sends the tensors out, result of host_call's function for the tensors that arrive)."""
    function, tensors = host_call
    values = list(tensors.values()) if isinstance(tensors, dict) else list(tensors)
    if not values:
        raise TypeError('host_call has no tensors')
    queue = tf.FIFOQueue(128, [value.dtype.base_dtype for value in values], [value.shape for value in values])
    with tf.control_dependencies([spec.train_op] if spec.train_op is not None else [spec.loss]):
        enqueue = queue.enqueue(values)
    with tf.control_dependencies([enqueue]):
        loss = tf.identity(spec.loss)
    arrived = queue.dequeue()
    arrived = arrived if isinstance(arrived, list) else [arrived]
    operations = function(**dict(zip(tensors, arrived))) if isinstance(tensors, dict) else function(*arrived)
    if not _depends(operations, arrived[0].op):
        raise RuntimeError("host_call's result does not depend on its tensors: on the device train() never returns")
    return loss, operations


def _depends(fetches, source):
    todo = [fetch.op if isinstance(fetch, tf.Tensor) else fetch for fetch in tf.nest.flatten(fetches)]
    seen = set()
    while todo:
        operation = todo.pop()
        if operation is source:
            return True
        if operation not in seen:
            seen.add(operation)
            todo += [value.op for value in operation.inputs] + list(operation.control_inputs)
    return False


def _add_options(session_config, config):
    """Writes into the given proto, as the original does; TensorFlow itself ignores these names."""
    rewrite = session_config.graph_options.rewrite_options
    rewrite.optimizers.extend(['pruning', 'function', 'constfold', 'shape', 'arithmetic', 'loop', 'dependency',
                               'layout', 'memory', 'GradFusionOptimizer'])
    options = rewriter_config_pb2.RewriterConfig.CustomGraphOptimizer(name='NpuOptimizer')
    options.parameter_map['iterations_per_loop'].i = config.iterations_per_loop
    options.parameter_map['use_off_line'].b = True
    given = {name: config.options.get(name) for name in ('precision_mode', 'precision_mode_v2', 'modify_mixlist')}
    if not given['precision_mode_v2']:
        given['precision_mode'] = given['precision_mode'] or 'allow_fp32_to_fp16'
    dump = config.options['dump_config']
    if dump is not None:
        options.parameter_map['enable_dump'].b = dump._enable_dump
        given.update(dump_path=dump._dump_path, dump_step=dump._dump_step, dump_mode=dump._dump_mode)
    for name, value in given.items():
        if value is not None:
            options.parameter_map[name].s = value.encode()
    rewrite.custom_optimizers.extend([options])
    # a collective blocks a thread here, not on the device: there must be more threads than collectives at once
    session_config.inter_op_parallelism_threads = max(session_config.inter_op_parallelism_threads, 16)
