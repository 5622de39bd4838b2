"""The machine: device, parallelism, precision and what only an accelerator's runtime wants to know."""
import dataclasses

from edvr.config.base import Config, option

DEVICES = ('cpu', 'gpu', 'npu')


@dataclasses.dataclass(frozen=True)
class RuntimeConfig(Config):
    """Where a run happens. None of it changes what is computed, except the precision options."""

    TITLE = 'runtime'

    device: str = option('cpu', 'what trains: npu (Ascend, needs npu_bridge), gpu (all or --num_gpus of this '
                                'host; several hosts through TF_CONFIG) or cpu', choices=DEVICES)
    dcn_impl: str = option('auto', 'deformable convolution: npu (the Ascend operator), native (the compiled CPU '
                                   'operator, see scripts/build_ops.sh), tf (stock operations, everywhere), auto '
                                   '(the fastest that the device and the installation have)',
                           choices=('auto', 'npu', 'tf', 'native'))

    num_gpus: int = option(0, 'GPUs of this host to use; 0 means all of them. Each gets its own --batch_size', low=0)
    cpu_replicas: int = option(1, 'model replicas on --device=cpu, each with its own --batch_size; above 1 only to try '
                               'the behaviour of several GPUs on a machine without any', low=1)
    mixed_precision: bool = option(False, 'on GPU: float16 where it is safe (automatic graph rewrite); switch on '
                                          'for cards with tensor cores, together with --loss_scale=dynamic')
    gpu_memory_growth: bool = option(False, 'on GPU: take memory as needed instead of all of it at once; switch '
                                            'on where the card is shared')
    intra_op_threads: int = option(0, 'threads that compute inside one operation; 0 means one per core. Lower it when '
                                   'several processes share a host', low=0)
    inter_op_threads: int = option(0, 'operations that run at once; 0 means one per core', low=0)

    loss_scale: str = option('off', 'factor on the loss against float16 underflow (npu, or gpu with '
                                    '--mixed_precision): off, fixed (--loss_scale_value) or dynamic (starts '
                                    'there; halves on overflow, whose step is skipped; grows after '
                                    '--loss_scale_growth_steps good steps)',
                             choices=('off', 'fixed', 'dynamic'))
    loss_scale_value: float = option(1024., 'the fixed loss scale, or the one dynamic scaling starts with', low=1.)
    loss_scale_growth_steps: int = option(1000, 'dynamic loss scale: steps without overflow before it doubles', low=1)
    loss_scale_decay_overflows: int = option(1, 'dynamic loss scale on NPU: overflowing steps before it halves', low=1)

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
        if self.dcn_impl == 'npu' and self.device != 'npu':
            yield "dcn_impl is 'npu', which runs only on --device=npu; the device is %r" % self.device
        if self.dcn_impl == 'native' and self.device != 'cpu':
            yield "dcn_impl is 'native', a CPU operator; on --device=%s use 'auto' or 'tf'" % self.device
        if self.mixed_precision and self.device != 'gpu':
            yield ('mixed_precision is for --device=gpu; on npu use --precision_mode=allow_mix_precision; the '
                   'device is %r'
                   % self.device)
        if self.loss_scale != 'off' and self.device != 'npu' and not self.mixed_precision:
            yield ('loss_scale is %r, which serves float16: use it on --device=npu, or on gpu with --mixed_precision; '
                   'the device is %r' % (self.loss_scale, self.device))
        if self.iterations_per_loop > 1 and self.device != 'npu':
            yield ('iterations_per_loop is %d, which only --device=npu can do; the device is %r'
                   % (self.iterations_per_loop, self.device))
        if self.cpu_replicas > 1 and self.device != 'cpu':
            yield 'cpu_replicas is %d, which is for --device=cpu; the device is %r' % (self.cpu_replicas, self.device)
        if self.num_gpus and self.device != 'gpu':
            yield 'num_gpus is %d, which is for --device=gpu; the device is %r' % (self.num_gpus, self.device)
        for name in ('graph_memory_max_size', 'variable_memory_max_size'):
            value = getattr(self, name)
            if value and not all(part.strip().isdigit() for part in value.split('*')):
                yield '%s is %r; it must be bytes, such as 26*1024*1024*1024' % (name, value)
        if self.dump_step and not self.dump_path:
            yield 'dump_step is %r without --dump_path, which says where to' % self.dump_step
