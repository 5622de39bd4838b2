"""The compiled part's view of a session's options, read in npu_attrs.cc: which names and types it has, what it refuses.

The original looks when the first session runs its graph. It ignores an unknown name, and takes a value of another type
for 0 or nothing; here both are errors.
"""
import tensorflow.compat.v1 as tf

TYPES = {name: field for field, names in dict(
    s='graph_memory_max_size variable_memory_max_size dump_path dump_step dump_mode dump_debug_mode precision_mode '
      'precision_mode_v2 auto_tune_mode aoe_mode work_path profiling_options op_select_implmode op_compiler_cache_mode '
      'op_compiler_cache_dir debug_dir buffer_optimize modify_mixlist op_precision_mode customize_dtypes jit_compile '
      'op_debug_config job',
    i='graph_run_mode iterations_per_loop task_index enable_exception_dump deterministic hccl_timeout op_debug_level '
      'op_wait_timeout op_execute_timeout stream_sync_timeout event_sync_timeout topo_sorting_mode '
      'enable_small_channel',
    b='use_off_line mix_compile_mode enable_data_pre_proc hcom_parallel enable_dump enable_dump_debug profiling_mode '
      'external_weight').items() for name in names.split()}
ALLOWED = dict(dump_mode=('input', 'output', 'all'), aoe_mode=('1', '2', '4'), enable_exception_dump=(0, 1, 2),
               buffer_optimize=('l2_optimize', 'off_optimize'), op_select_implmode=(
                   'high_precision', 'high_performance', 'high_precision_for_all', 'high_performance_for_all'))
MIXED = dict(precision_mode=('allow_mix_precision', 'allow_mix_precision_fp16', 'allow_mix_precision_bf16'),
             precision_mode_v2=('mixed_float16', 'mixed_bfloat16', 'mixed_hif8'))


def check(parameter_map):
    """Raises InternalError for what the adapter refuses; returns {name: value}."""
    values = {}
    for name, value in parameter_map.items():
        if value.WhichOneof('value') != TYPES.get(name):
            raise _refused('%s has the type %s, not %s' % (name, value.WhichOneof('value'), TYPES.get(name)))
        values[name] = getattr(value, TYPES[name])
        if TYPES[name] == 's':
            values[name] = values[name].decode()
    for name, allowed in ALLOWED.items():
        if name in values and values[name] not in allowed:
            raise _refused('%s should be one of the list:%s' % (name, list(allowed)))
    if values.get('enable_dump'):
        if 'dump_path' not in values:
            raise _refused('if use dump function, dump_path must be set.')
        _check_dump_step(values.get('dump_step', ''))
    if 'precision_mode' in values and 'precision_mode_v2' in values:
        raise _refused("'precision_mode' and 'precision_mode_v2' can not be assigned at the same time.")
    if 'modify_mixlist' in values:
        name = 'precision_mode_v2' if 'precision_mode_v2' in values else 'precision_mode'
        if values.get(name) not in MIXED[name]:
            raise _refused('modify_mixlist is assigned, please ensure that %s is assigned to %s'
                           % (name, ' or '.join(map(repr, MIXED[name]))))
    return values


def _check_dump_step(text):
    sets = text.split('|') if text else []
    if len(sets) > 100:
        raise _refused('dump_step only support dump <= 100 sets of data')
    for each in sets:
        bounds = each.split('-')
        if len(bounds) > 2 or any(bound.strip('0123456789') for bound in bounds):
            raise _refused("dump_step string style is error, correct example:'0|5|10|50-100.'")
        if len(bounds) == 2 and int(bounds[0] or 0) >= int(bounds[1] or 0):
            raise _refused("in range steps, the first step is >= second step, correct example:'0|5|10-20'")


def _refused(text):
    return tf.errors.InternalError(None, None, text)
