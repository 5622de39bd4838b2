"""What only the runtime of an Ascend NPU wants to know."""
import dataclasses

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class NpuConfig(Config):
    """Options of the Ascend adapter."""

    TITLE = 'npu'
    DEVICES = ('npu',)   # that have the options of this class

    precision_mode: str = option('allow_fp32_to_fp16', 'on NPU: how float32 operations run. allow_fp32_to_fp16: '
                                                       'float32 where the operator has it, else float16; '
                                                       'force_fp16: always float16 (fastest); '
                                                       'allow_mix_precision: float16 where it is safe, use with '
                                                       '--loss_scale; must_keep_origin_dtype: never convert (an '
                                                       'operator without float32 fails)',
                                 choices=('allow_fp32_to_fp16', 'force_fp16', 'allow_mix_precision',
                                          'must_keep_origin_dtype'))
    iterations_per_loop: int = option(1, 'on NPU: steps the device runs before the host sees anything; 10 to 100 '
                                         'hides the host, but logs, guards and checkpoints happen only between '
                                         'loops. --steps and --save_every must be multiples', low=1)
    graph_memory_max_size: str = option('', 'on NPU: bytes for feature maps and workspace, an expression such as '
                                            '26*1024*1024*1024; empty leaves the choice to the runtime. Raise '
                                            'when the graph does not fit, at the expense of '
                                            '--variable_memory_max_size')
    variable_memory_max_size: str = option('', 'on NPU: bytes for weights and optimizer state, such as '
                                               '5*1024*1024*1024; empty leaves the choice to the runtime')
    hcom_parallel: bool = option(True, 'on several NPUs: exchange gradients while the rest is still being computed')
    op_compiler_cache_mode: str = option('', 'on NPU: keep compiled operators on disk: enable, force (recompile '
                                             'and overwrite), disable; empty leaves the choice to the runtime. '
                                             'Enable to start faster',
                                         choices=('', 'enable', 'force', 'disable'))
    op_compiler_cache_dir: str = option('', 'on NPU: directory of that cache')
    auto_tune_mode: str = option('', 'on NPU: operator tuning, such as RL,GA; the first run takes hours, later '
                                     'ones are faster; empty is off')
    op_select_implmode: str = option('', 'on NPU: high_precision or high_performance operator variants; empty '
                                         'leaves the choice to the runtime',
                                     choices=('', 'high_precision', 'high_performance'))
    enable_exception_dump: int = option(0, "on NPU: 1 writes a failing operator's inputs to files", low=0)
    profiling: str = option('', 'on NPU: profiling options for a short run, such as task_trace or '
                            'training_trace:task_trace; empty is off (it costs speed and disk)')
    dump_path: str = option('', 'on NPU: existing directory for the tensors of --dump_step; empty is off (it '
                                'costs much speed and disk)')
    dump_step: str = option('', 'on NPU: steps to dump, such as 0|5|10-20; empty with --dump_path means every step')
    dump_mode: str = option('output', 'on NPU: which tensors to dump', choices=('input', 'output', 'all'))

    def problems(self):
        for name in ('graph_memory_max_size', 'variable_memory_max_size'):
            value = getattr(self, name)
            if value and not all(part.strip().isdigit() for part in value.split('*')):
                yield '%s is %r; it must be bytes, such as 26*1024*1024*1024' % (name, value)
        if self.dump_step and not self.dump_path:
            yield 'dump_step is %r without --dump_path, which says where to' % self.dump_step
