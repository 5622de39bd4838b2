"""NPURunConfig and the configurations inside it."""
import json
import os

import tensorflow as tf


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

    def __init__(self, iterations_per_loop=1, profiling_config=None, model_dir=None, tf_random_seed=None,
                 save_summary_steps=0, save_checkpoints_steps=None, save_checkpoints_secs=None, session_config=None,
                 keep_checkpoint_max=5, keep_checkpoint_every_n_hours=10000, log_step_count_steps=100, distribute=None,
                 enable_data_pre_proc=True, precision_mode=None, enable_reduce_precision=False,
                 variable_format_optimize=True, mix_compile_mode=False, hcom_parallel=False, graph_memory_max_size=None,
                 variable_memory_max_size=None, auto_tune_mode=None, dump_config=None, stream_max_parallel_num=None,
                 is_tailing_optimization=False, horovod_mode=False, graph_run_mode=1, op_debug_level=0,
                 enable_scope_fusion_passes=None, enable_exception_dump=0, op_select_implmode=None,
                 optypelist_for_implmode=None, dynamic_input_config=None, mstune_mode=None, work_path=None,
                 buffer_optimize='l2_optimize', enable_small_channel=0, fusion_switch_file=None,
                 enable_compress_weight=False, compress_weight_conf=None, op_compiler_cache_mode=None,
                 op_compiler_cache_dir=None, debug_dir=None, hcom_multi_mode=False, dynamic_input=False,
                 dynamic_graph_execute_mode='dynamic_execute', dynamic_inputs_shape_range=None, train_distribute=None,
                 eval_distribute=None, local_rank_id=None, local_device_list=None, session_device_id=None):
        options = dict(locals())
        for name in ('self', '__class__'):
            options.pop(name)
        self.options = options
        _check(options)
        if save_checkpoints_steps is None and save_checkpoints_secs is None:
            save_checkpoints_steps = 100
        if os.environ.get('TF_CONFIG') is not None:
            json.loads(os.environ['TF_CONFIG'])
        super().__init__(
            model_dir=model_dir, tf_random_seed=tf_random_seed, save_summary_steps=save_summary_steps,
            save_checkpoints_steps=save_checkpoints_steps, save_checkpoints_secs=save_checkpoints_secs,
            session_config=session_config, keep_checkpoint_max=keep_checkpoint_max,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours, log_step_count_steps=log_step_count_steps,
            train_distribute=train_distribute, eval_distribute=eval_distribute)
        self.iterations_per_loop, self.horovod_mode = iterations_per_loop, horovod_mode


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
    if options['mstune_mode'] is not None and options['work_path'] is None:
        raise ValueError('mstune_mode needs work_path')
