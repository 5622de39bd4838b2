"""Options of NPURunConfig in the installed adapter, found from its signature."""
import inspect
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Type

from data_tools.base.errors import UserError

# The arguments that each release added, oldest first. The adapter does not report its release. The first name of each
# line identifies it; all later releases have this name too. Releases between r1.15.0 and 9 were not checked.
RELEASES = (
    ('r1.1.1', 'precision_mode'),
    ('r1.2.0', 'work_path buffer_optimize compress_weight_conf debug_dir dynamic_input_config enable_compress_weight '
               'enable_small_channel fusion_switch_file mstune_mode op_compiler_cache_dir op_compiler_cache_mode'),
    ('r1.3.0', 'session_device_id distribute_config dynamic_graph_execute_mode dynamic_input '
               'dynamic_inputs_shape_range eval_distribute hcom_multi_mode local_device_list local_rank_id '
               'op_tune_mode train_distribute'),
    ('r1.5.0', 'aoe_mode modify_mixlist op_precision_mode'),
    ('r1.7.0', 'hccl_timeout device_type op_execute_timeout op_wait_timeout'),
    ('r1.8.0', 'soc_config HCCL_algorithm'),
    ('r1.9.0', 'op_debug_config customize_dtypes experimental_config memory_config'),
    ('r1.10.0', 'topo_sorting_mode'),
    ('r1.11.0', 'aoe_config_file external_weight insert_op_file'),
    ('r1.12.0', 'deterministic event_sync_timeout frozen_variable stream_sync_timeout variable_placement'),
    ('r1.13.0', 'precision_mode_v2 es_cluster_config jit_compile'),
    ('r1.15.0', 'ac_parallel_enable'),
    ('9', 'oo_level all_tensor_not_empty aicore_num auto_multistream_parallel_mode compile_dynamic_mode '
          'export_compile_stat graph_max_parallel_model_num input_batch_cpy input_fusion_size oo_constant_folding '
          'optimization_switch quant_dumpable shape_generalization_mode'))
SINCE = {name: release for release, names in RELEASES for name in names.split()}
REMOVED = {'auto_tune_mode': ('r1.11.0', 'use --aoe_mode'), 'mstune_mode': ('r1.5.0', 'use --aoe_mode'),
           'op_tune_mode': ('r1.5.0', 'use --aoe_mode'), 'es_cluster_config': ('9', 'no option replaces it')}
OBJECTS = ('session_config', 'distribute', 'train_distribute', 'eval_distribute', 'dynamic_input_config',
           'memory_config', 'experimental_config')
# The arguments that NPUEstimator puts into the options of its sessions under their own names, by the field of the value
# (read in npu_estimator.py and npu_attrs.cc of the adapter 9.1; auto_tune_mode in those of 2021).
SESSION = {name: field for field, names in (
    ('s', 'precision_mode precision_mode_v2 modify_mixlist op_precision_mode graph_memory_max_size auto_tune_mode '
          'variable_memory_max_size op_compiler_cache_mode op_compiler_cache_dir op_select_implmode aoe_mode '
          'optypelist_for_implmode work_path distribute_config aoe_config_file debug_dir fusion_switch_file '
          'buffer_optimize compress_weight_conf enable_scope_fusion_passes device_type soc_config HCCL_algorithm '
          'customize_dtypes op_debug_config jit_compile variable_placement shape_generalization_mode '
          'auto_multistream_parallel_mode stream_max_parallel_num ac_parallel_enable quant_dumpable aicore_num '
          'oo_level optimization_switch insert_op_file dynamic_graph_execute_mode dynamic_inputs_shape_range'),
    ('i', 'deterministic hccl_timeout enable_exception_dump op_debug_level op_wait_timeout op_execute_timeout '
          'stream_sync_timeout event_sync_timeout topo_sorting_mode enable_small_channel input_fusion_size '
          'graph_max_parallel_model_num export_compile_stat session_device_id'),
    ('b', 'hcom_parallel hcom_multi_mode dynamic_input enable_compress_weight external_weight frozen_variable '
          'variable_format_optimize compile_dynamic_mode oo_constant_folding input_batch_cpy all_tensor_not_empty'),
) for name in names.split()}
FORBIDDEN = ('mix_compile_mode', 'horovod_mode', 'enable_data_pre_proc', 'graph_run_mode', 'local_rank_id',
             'local_device_list', 'is_tailing_optimization')


def release_of(defaults: Dict[str, Any]) -> str:
    """Returns the release of an adapter, from the arguments of its NPURunConfig. Raises UserError if it has too few."""
    for release, names in reversed(RELEASES):
        if names.split()[0] in defaults:
            return release
    raise UserError('the NPURunConfig of the installed adapter has no precision_mode: this is no release that the '
                    'program knows (r1.1.1 to 9)')


def defaults_of(run_config: Type) -> Dict[str, Any]:
    """Returns {argument: default} of the class NPURunConfig."""
    return {name: parameter.default for name, parameter in inspect.signature(run_config).parameters.items()}


def refusals(names: Dict[str, str], defaults: Dict[str, Any]) -> Iterator[str]:
    """Yields a text for each argument that this adapter does not have.

    Args:
      names: {argument: the flag that gives it}.
      defaults: {argument: default} of NPURunConfig.
    """
    release = release_of(defaults)
    for name, flag in names.items():
        if name in defaults:
            continue
        text = '%s: the installed adapter (at least %s, by its NPURunConfig) has no %s' % (flag, release, name)
        if name in REMOVED:
            text += '; it was removed in %s: %s' % REMOVED[name]
        elif name in SINCE:
            text += '; it came with %s' % SINCE[name]
        yield text


def put(values: Dict[str, Any], parameter_map: Any) -> None:
    """Puts arguments of NPURunConfig into the options of a session.

    Args:
      values: {name: value}.
      parameter_map: of the NpuOptimizer in a tf.ConfigProto.
    Raises:
      UserError: names all that a session does not have, or that have another type there.
    """
    problems = []
    for name, value in values.items():
        field = SESSION.get(name)
        if field is None:
            problems.append('--npu_option=%s=%s: this program computes in a tf.Session, of which no option %s is known '
                            '(it is one of training): leave it out' % (name, value, name))
        elif field == 's':
            parameter_map[name].s = str(value).encode()
        elif type(value) is not dict(i=int, b=bool)[field]:
            problems.append('--npu_option=%s=%s: it must be %s' % (
                name, value, dict(i='a whole number', b='true or false')[field]))
        else:
            setattr(parameter_map[name], field, value)
    if problems:
        raise UserError('; '.join(problems))


def parse(texts: Sequence[str], defaults: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """Parses arguments given as NAME=VALUE; each gets the type of its default.

    Args:
      texts: the arguments; `NpuConfig` refuses those that an option of the program sets.
      defaults: {argument: default} of NPURunConfig. With a default of None, true and false become bool, a whole number
        int, everything else str.
    Returns:
      {name: value}, and a text for each argument that cannot be given.
    """
    values, problems = {}, []
    for text in texts:
        name, _, value = text.partition('=')
        flag = '--npu_option=%s' % text
        if name in values:
            problems.append('%s: %s is given twice' % (flag, name))
        elif name in OBJECTS or name in FORBIDDEN:
            problems.append('%s: %s cannot be given this way: %s' % (
                flag, name, 'it is an object of the adapter' if name in OBJECTS else 'the training depends on it'))
        elif name not in defaults:
            problems += refusals({name: flag}, defaults)
        else:
            try:
                values[name] = _typed(value, defaults[name])
            except ValueError as error:
                problems.append('%s: %s' % (flag, error))
    return values, problems


def _typed(text: str, default: Any) -> Any:
    booleans = {'true': True, 'false': False}
    if isinstance(default, bool):
        if text.lower() not in booleans:
            raise ValueError('it must be true or false')
        return booleans[text.lower()]
    if isinstance(default, str):
        return text
    try:
        return int(text)
    except ValueError:
        if isinstance(default, int):
            raise ValueError('it must be a whole number') from None
    return booleans.get(text.lower(), text)
