"""Options of the runtime of an Ascend NPU."""
import dataclasses
import functools
import json
import re
from typing import Dict, Iterator, Tuple

from data_tools.base import config
from data_tools.base.config import Config
from edvr.config.data import DataConfig
from edvr.config.training import TrainingConfig

PRECISION_MODES = ('allow_fp32_to_fp16', 'force_fp16', 'force_fp32', 'cube_fp16in_fp32out', 'allow_mix_precision',
                   'allow_mix_precision_fp16', 'allow_mix_precision_bf16', 'allow_fp32_to_bf16',
                   'must_keep_origin_dtype')
PRECISION_MODES_V2 = ('fp16', 'origin', 'cube_fp16in_fp32out', 'mixed_float16', 'mixed_bfloat16')
# those whose lists --modify_mixlist changes
MIXED_MODES = ('allow_mix_precision', 'allow_mix_precision_fp16', 'allow_mix_precision_bf16', 'mixed_float16',
               'mixed_bfloat16')
DUMP_SETS = 100   # of --dump_step, at most

NPU_DCN = ('auto', 'split', 'whole')

option = functools.partial(config.option, devices=('npu',), may_change=True)


@dataclasses.dataclass(frozen=True)
class NpuConfig(Config):
    """Options of the Ascend adapter."""

    TITLE = 'npu'

    precision_mode: str = option('allow_fp32_to_fp16', 'on NPU: how float32 operations run. allow_fp32_to_fp16: '
                                                       'convolutions and matrix products in float16, other operators '
                                                       'in float32 where they have it; '
                                                       'force_fp16: float16 where the operator has both (fastest); '
                                                       'allow_mix_precision: float16 where it is safe, use with '
                                                       '--loss_scale; must_keep_origin_dtype: never convert (an '
                                                       'operator without float32 on AI Core runs on the AI CPU, or '
                                                       'fails); the others need a card and an adapter that have them',
                                 choices=PRECISION_MODES, may_change=False)
    precision_mode_v2: str = option('', 'on NPU, adapters of 2023 and later: the newer names of the precision modes; '
                                        'one given here is used instead of --precision_mode',
                                    choices=('',) + PRECISION_MODES_V2, may_change=False)
    npu_dcn: str = option('auto', 'on NPU: how deformable convolutions of several groups run: whole (one call, which '
                                  'AI Core does not take before the Ascend 950, so it runs on the AI CPU), split (a '
                                  'call for each group, of all channels), auto (split where AI Core then takes it)',
                          choices=NPU_DCN)
    soc_version: str = option('', 'on NPU: the chip, such as Ascend910B1, for --npu_dcn=auto; empty asks npu-smi',
                              local=True)
    modify_mixlist: str = option('', 'on NPU: JSON file that moves operators between the lists of '
                                     '--precision_mode=allow_mix_precision (or _fp16, _bf16) or '
                                     '--precision_mode_v2=mixed_float16 (or mixed_bfloat16), one of which it needs',
                                 path='input')
    op_precision_mode: str = option('', 'on NPU: INI file with the precision of single operators',
                                    path='input')
    npu_deterministic: bool = option(False, 'on NPU: use operators that give the same bits each time; slower',
                                     adapter=('deterministic',))
    hccl_timeout: int = option(0, 'on several NPUs: seconds that a rank waits for the others; 0 leaves the choice to '
                                  'the adapter. Raise it when ranks start at very different times', low=0)
    iterations_per_loop: int = option(1, 'on NPU: steps that the device runs in one call of the host. With 10 to '
                                         '100 the device does not wait for the host. Logs, the guard and checkpoints '
                                         'then act only between loops. --steps, --save_every and the step at which '
                                         'a run is continued must be multiples',
                                     low=1)
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
    op_compiler_cache_dir: str = option('', 'on NPU: directory of that cache', local=True, path='local')
    auto_tune_mode: str = option('', 'on NPU, adapters before 2023: operator tuning, such as RL,GA; the first run '
                                     'takes hours, later ones are faster; empty is off')
    aoe_mode: str = option('', 'on NPU: tuning by the adapters since September 2021: 1 (subgraphs) or 2 (operators); '
                               'the first run takes hours; empty is off', choices=('', '1', '2'))
    op_select_implmode: str = option('', 'on NPU: high_precision or high_performance variants of the operators in '
                                         "CANN's lists; with _for_all of all operators that have them; empty leaves "
                                         'the choice to the runtime',
                                     choices=('', 'high_precision', 'high_performance',
                                              'high_precision_for_all', 'high_performance_for_all'))
    enable_exception_dump: int = option(-1, "on NPU: what the adapter writes when an operator fails: 0 nothing, 1 its "
                                            "inputs, 2 (newer adapters) a light dump; -1 is the adapter's default",
                                        low=-1, high=2)
    profiling: str = option('', 'on NPU: profiling options for a short run as JSON, such as '
                            '{"output":"/tmp/profiling","training_trace":"on","task_trace":"on"}; empty is off (it '
                            'costs speed and disk)', adapter=('profiling_config',))
    npu_option: Tuple[str, ...] = option((), 'on NPU: NAME=VALUE for any other argument of NPURunConfig, such as '
                                             'op_debug_level=1; give it once for each', repeated=True)
    dump_path: str = option('', 'on NPU: existing directory for the tensors of --dump_step; empty is off (it '
                                'costs much speed and disk)', local=True, adapter=('dump_config',), path='local')
    dump_step: str = option('', 'on NPU: steps to dump, at most 100 steps or ranges, such as 0|5|10-20; empty with '
                               '--dump_path means every step')
    dump_mode: str = option('output', 'on NPU: which tensors to dump', choices=('input', 'output', 'all'))

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        for name in ('graph_memory_max_size', 'variable_memory_max_size'):
            value = getattr(self, name)
            if value and not all(part.strip().isdigit() for part in value.split('*')):
                yield '%s is %r; it must be bytes, such as 26*1024*1024*1024' % (name, value)
        name = 'precision_mode_v2' if self.precision_mode_v2 else 'precision_mode'
        if self.modify_mixlist and getattr(self, name) not in MIXED_MODES:
            yield ('modify_mixlist is %r with --%s=%s, which has no lists of operators; add '
                   '--precision_mode=allow_mix_precision, or in its place --precision_mode_v2=mixed_float16'
                   % (self.modify_mixlist, name, getattr(self, name)))
        if self.dump_step and not self.dump_path:
            yield 'dump_step is %r without --dump_path, which says where to' % self.dump_step
        if self.dump_step and not _are_steps(self.dump_step):
            yield ('dump_step is %r; it must be at most %d steps N or ranges N-M, N below M, with | between them, such '
                   'as 0|5|10-20' % (self.dump_step, DUMP_SETS))
        if self.profiling:
            yield from _profiling_problems(self.profiling)
        options = self._adapter_options()
        for text in self.npu_option:
            name, equals, _ = text.partition('=')
            if not name.isidentifier() or not equals:
                yield 'npu_option is %r; it must be NAME=VALUE, such as op_debug_level=1' % text
            elif name in options:
                yield 'npu_option is %r; use --%s' % (text, options[name])

    @classmethod
    def _adapter_options(cls) -> Dict[str, str]:
        """Returns {argument of the adapter: the option that sets it}; an option sets an argument of its own name."""
        fields = [field for config in (DataConfig, TrainingConfig, cls) for field in dataclasses.fields(config)]
        return {**{field.name: field.name for field in dataclasses.fields(cls)},
                **{argument: field.name for field in fields for argument in field.metadata['adapter']}}


def _are_steps(text: str) -> bool:
    sets = [re.fullmatch('([0-9]+)(?:-([0-9]+))?', part) for part in text.split('|')]
    return len(sets) <= DUMP_SETS and all(
        each and (each.group(2) is None or int(each.group(1)) < int(each.group(2))) for each in sets)


def _profiling_problems(text: str) -> Iterator[str]:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict) or not isinstance(options.get('output'), str):
        yield ('profiling is %r; it must be a JSON object with the folder for the results, such as '
               '{"output":"/tmp/profiling","training_trace":"on","task_trace":"on"}' % text)
