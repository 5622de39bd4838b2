"""NPURunConfig's arguments and defaults by release, as inspected; NPU_DOUBLE_RELEASE chooses one."""
import os

EARLY, R6, R15, R9 = '2021-02', 'r1.6.0', 'r1.15.0', '9.1.0'

_EARLY = dict(
    iterations_per_loop=1, profiling_config=None, model_dir=None, tf_random_seed=None, save_summary_steps=0,
    save_checkpoints_steps=None, save_checkpoints_secs=None, session_config=None, keep_checkpoint_max=5,
    keep_checkpoint_every_n_hours=10000, log_step_count_steps=100, distribute=None, enable_data_pre_proc=True,
    precision_mode=None, enable_reduce_precision=False, variable_format_optimize=True, mix_compile_mode=False,
    hcom_parallel=False, graph_memory_max_size=None, variable_memory_max_size=None, auto_tune_mode=None,
    dump_config=None, stream_max_parallel_num=None, is_tailing_optimization=False, horovod_mode=False, graph_run_mode=1,
    op_debug_level=0, enable_scope_fusion_passes=None, enable_exception_dump=0, op_select_implmode=None,
    optypelist_for_implmode=None, dynamic_input_config=None, mstune_mode=None, work_path=None,
    buffer_optimize='l2_optimize', enable_small_channel=0, fusion_switch_file=None, enable_compress_weight=False,
    compress_weight_conf=None, op_compiler_cache_mode=None, op_compiler_cache_dir=None, debug_dir=None,
    hcom_multi_mode=False, dynamic_input=False, dynamic_graph_execute_mode='dynamic_execute',
    dynamic_inputs_shape_range=None, train_distribute=None, eval_distribute=None, local_rank_id=None,
    local_device_list=None, session_device_id=None)

# release: (arguments that are gone, arguments and defaults that are new or changed)
_CHANGES = (
    (EARLY, (), {}),
    (R6, ('mstune_mode',), dict(distribute_config=None, aoe_mode=None, modify_mixlist=None, op_precision_mode=None)),
    (R15, ('auto_tune_mode',), dict(
        device_type='default_device_type', hccl_timeout=None, op_wait_timeout=None, op_execute_timeout=None,
        soc_config=None, HCCL_algorithm=None, customize_dtypes=None, op_debug_config=None, memory_config=None,
        experimental_config=None, jit_compile='auto', topo_sorting_mode=None, aoe_config_file=None,
        insert_op_file=None, external_weight=False, stream_sync_timeout=-1, event_sync_timeout=-1, deterministic=0,
        frozen_variable=False, variable_placement='Device', es_cluster_config=None, precision_mode_v2=None,
        ac_parallel_enable=None, hcom_parallel=True, variable_format_optimize=None, op_debug_level=None,
        dynamic_input=None, enable_exception_dump=2)),
    (R9, ('es_cluster_config',), dict(
        quant_dumpable=None, input_fusion_size=131072, compile_dynamic_mode=None, graph_max_parallel_model_num=1,
        export_compile_stat=1, aicore_num=None, oo_constant_folding=True, input_batch_cpy=False,
        shape_generalization_mode='STRICT', all_tensor_not_empty=False, auto_multistream_parallel_mode=None,
        oo_level='O3', optimization_switch=None)))


def current():
    """The release that the test double imitates."""
    return os.environ.get('NPU_DOUBLE_RELEASE', R15)


def arguments():
    """{name: default} of NPURunConfig in that release."""
    result = dict(_EARLY)
    for release, gone, new in _CHANGES:
        for name in gone:
            del result[name]
        result.update(new)
        if release == current():
            return result
    raise ValueError('NPU_DOUBLE_RELEASE is %r; known are %s' % (current(), ', '.join(row[0] for row in _CHANGES)))
