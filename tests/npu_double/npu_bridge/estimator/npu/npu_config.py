"""NPURunConfig and the configurations inside it."""
import inspect
import json
import os

import tensorflow.compat.v1 as tf

from . import releases


class ProfilingConfig:
    def __init__(self, enable_profiling=False, profiling_options=None):
        if enable_profiling and not profiling_options:
            raise ValueError('profiling_options must be set when profiling is enabled')
        if profiling_options is not None and not isinstance(profiling_options, str):
            raise TypeError('profiling_options must be a string')
        self._enable_profiling, self._profiling_options = enable_profiling, profiling_options


class DumpConfig:
    def __init__(self, enable_dump=False, dump_path=None, dump_step=None, dump_mode='output', enable_dump_debug=False,
                 dump_debug_mode='all'):
        self._enable_dump, self._dump_path = enable_dump, dump_path
        self._dump_step, self._dump_mode = dump_step, dump_mode


class DynamicInputConfig:
    pass


class NPURunConfig(tf.estimator.RunConfig):
    """Keywords, defaults and checks of the adapter; options only the device would read are kept in `options`."""

    def __init__(self, **given):
        known = releases.arguments()
        for name in given:
            if name not in known:
                raise TypeError('__init__() got an unexpected keyword argument %r' % name)
        options = self.options = dict(known, **given)
        _check(options)
        if options['save_checkpoints_steps'] is None and options['save_checkpoints_secs'] is None:
            options = dict(options, save_checkpoints_steps=100)
        if json.loads(os.environ.get('TF_CONFIG', '{}')).get('cluster'):
            raise ValueError('"distribute" must be a ParameterServerStrategy when TF_CONFIG has a cluster')
        super().__init__(**{name: options[name] for name in (
            'model_dir', 'tf_random_seed', 'save_summary_steps', 'save_checkpoints_steps', 'save_checkpoints_secs',
            'session_config', 'keep_checkpoint_max', 'keep_checkpoint_every_n_hours', 'log_step_count_steps',
            'train_distribute', 'eval_distribute')})
        self.iterations_per_loop, self.horovod_mode = options['iterations_per_loop'], options['horovod_mode']


# what inspection of the original finds
NPURunConfig.__init__.__signature__ = inspect.Signature(
    [inspect.Parameter('self', inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    + [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
       for name, default in releases.arguments().items()])


def _check(options):
    loops = options['iterations_per_loop']
    if not isinstance(loops, int):
        raise TypeError('iterations_per_loop must be an int, not %r' % (loops,))
    if loops < 1:
        raise ValueError('iterations_per_loop must be > 0, not %r' % loops)
    for name in ('mix_compile_mode', 'horovod_mode'):
        if not isinstance(options[name], bool):
            raise ValueError('%s must be a bool' % name)
    if options['mix_compile_mode'] and loops != 1:
        raise ValueError('mix_compile_mode requires iterations_per_loop 1')
    if options['graph_run_mode'] not in (0, 1):
        raise ValueError('graph_run_mode must be 0 or 1')
    dump = options['enable_exception_dump']
    if not isinstance(dump, int) or dump < 0:
        raise TypeError('enable_exception_dump must be an int >= 0')
    for name, kind in (('dump_config', DumpConfig), ('dynamic_input_config', DynamicInputConfig)):
        if options[name] is not None and not isinstance(options[name], kind):
            raise ValueError('%s must be a %s' % (name, kind.__name__))
    if options.get('mstune_mode') is not None and options['work_path'] is None:
        raise ValueError('mstune_mode needs work_path')
