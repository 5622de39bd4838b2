"""Configurations check themselves, survive JSON, and become flags."""
import json
import os
import re

import preloaded
import pytest
from conftest import ROOT
from facts import check_error, raises_facts

from data_tools.base.config import names_with
from edvr.config import ConfigError, DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.export import ExportConfig
from edvr.config.restoration import RestoreConfig

PROGRAM = '''"""A program."""
from edvr import flags
from edvr.config import ModelConfig
flags.run(lambda: print(flags.build(ModelConfig).to_dict()), ModelConfig)
'''


@pytest.fixture(scope='module')
def run_flags(tmp_path_factory):
    """Runs PROGRAM."""
    path = tmp_path_factory.mktemp('program') / 'program.py'
    path.write_text(PROGRAM)
    return lambda *arguments: preloaded.run(str(path), arguments, 60, env=dict(os.environ, PYTHONPATH=ROOT))


def test_json_round_trip():
    config = ModelConfig(num_frames=7, with_tsa=False)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize('property, cls, names', [
    ('may_change', ModelConfig, ''),
    ('may_change', DataConfig, 'data_dir micro_batches read_threads map_threads read_buffer_kb prefetch '
     'shuffle_buffer'),
    ('may_change', TrainingConfig, 'model_dir override_config steps save_every keep_last keep_every_hours log_every '
     'summary_every val_dir val_clips eval_every eval_frames image_every recompute_alignment'),
    ('local', ModelConfig, ''),
    ('local', DataConfig, 'data_dir read_threads map_threads read_buffer_kb prefetch'),
    ('local', TrainingConfig, 'model_dir val_dir'),
    ('local', RuntimeConfig, 'intra_op_threads inter_op_threads op_compiler_cache_dir dump_path soc_version'),
    ('counts_steps', TrainingConfig, 'steps save_every log_every summary_every eval_every image_every')])
def test_properties_of_options(property, cls, names):
    assert names_with(property, cls) == set(names.split())


def test_runtime_options_that_change_what_is_computed():
    assert set(RuntimeConfig.__dataclass_fields__) - names_with('may_change', RuntimeConfig) == {
        'mixed_precision', 'precision_mode', 'precision_mode_v2', 'loss_scale', 'loss_scale_value'}


def test_arguments_of_the_adapter_that_options_set():
    found = {argument: field.name for cls in (DataConfig, TrainingConfig, RuntimeConfig)
             for field in cls.__dataclass_fields__.values() for argument in field.metadata['adapter']}
    assert found == {
        'model_dir': 'model_dir', 'tf_random_seed': 'seed', 'save_checkpoints_steps': 'save_every',
        'save_checkpoints_secs': 'save_every', 'save_summary_steps': 'summary_every',
        'log_step_count_steps': 'log_every', 'keep_checkpoint_max': 'keep_last',
        'keep_checkpoint_every_n_hours': 'keep_every_hours', 'profiling_config': 'profiling',
        'dump_config': 'dump_path', 'deterministic': 'npu_deterministic'}


@pytest.mark.parametrize('cls', [RuntimeConfig, RestoreConfig, ExportConfig])
def test_saved_configurations_may_use_earlier_names(cls):
    assert cls.from_dict({'dcn_impl': 'tf'}) == cls(kernels='tf')


def test_unknown_field_is_named():
    with raises_facts(ConfigError, 'ModelConfig', "'colour'"):
        ModelConfig.from_dict({'colour': 1})


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        ModelConfig(channels=0, scale=5, with_tsa=1)
    assert caught.value.problems == ['scale is 5; it must be one of 2, 3, 4', 'channels is 0; it must be at least 1',
                                     'with_tsa is 1; it must be bool']


@pytest.mark.parametrize('fields, facts', [
    ({'num_frames': 4}, ['num_frames', 4, 'odd']), ({'channels': 20}, ['deform_groups', 8, 'channels', 20])])
def test_cross_field_problems(fields, facts):
    with raises_facts(ConfigError, *facts):
        ModelConfig(**fields)


def test_preset_and_explicit_flag(run_flags):
    result = run_flags('--variant=L', '--num_reconstruct_block=3')
    assert "'channels': 128" in result.stdout and "'num_reconstruct_block': 3" in result.stdout, result.stderr


def test_wrong_flag_value_is_one_line_and_non_zero(run_flags):
    result = run_flags('--num_frames=4')
    check_error(result, 'num_frames', 4, 'odd')
    assert result.stderr.count('\n') == 1


def test_short_help_shows_the_common_flags_and_says_where_the_others_are(run_flags):
    result = run_flags('--help')
    assert result.returncode == 0 and result.stdout.startswith('A program.\n')
    assert 'network:\n  --network: ' in result.stdout and '\n  --num_frames: ' in result.stdout
    assert '--deform_groups' not in result.stdout
    assert re.search(r'\d+ more flags: --helpfull .*--help=TOPIC .*network', result.stdout)


@pytest.mark.parametrize('argument, others', [
    ('--helpfull', True), ('--help=network', True), ('--help=Network', True), ('--help=hr_in', False),
    ('--help=--hr_in', False)])
def test_help_of_everything_of_a_topic_of_a_flag(run_flags, argument, others):
    result = run_flags(argument)
    assert result.returncode == 0 and '  --[no]hr_in: input frames already have' in result.stdout
    assert ('--deform_groups: ' in result.stdout) is others


def test_help_of_what_is_not_there(run_flags):
    check_error(run_flags('--help=colour'), '--help=colour', 'topics: network')


def test_print_config_is_a_flagfile_that_gives_the_same(run_flags, tmp_path):
    printed = run_flags('--variant=L', '--nowith_tsa', '--print_config')
    assert printed.returncode == 0 and printed.stdout.startswith('# network\n--network=edvr\n--num_frames=5\n')
    assert '--channels=128\n' in printed.stdout and '--nowith_tsa\n' in printed.stdout
    (tmp_path / 'again.cfg').write_text(printed.stdout)
    again = run_flags('--flagfile=%s' % (tmp_path / 'again.cfg'))
    assert again.stdout == run_flags('--variant=L', '--nowith_tsa').stdout != ''


@pytest.mark.parametrize('arguments, code', [(['--print_config', '--num_frames=4'], 1), (['--print_config'], 0)])
def test_print_config_checks_and_starts_nothing(run_flags, arguments, code):
    result = run_flags(*arguments)
    assert result.returncode == code and "{'num_frames'" not in result.stdout


@pytest.mark.parametrize('fields, fill', [({}, 'reflection_circle'), (dict(hr_in=True), 'reflection_circle'),
                                          (dict(with_predeblur=True), 'replicate'),
                                          (dict(with_predeblur=True, hr_in=True), 'replicate')])
def test_the_ends_of_clips_are_filled_as_in_the_published_evaluation(fields, fill):
    assert RestoreConfig().for_network(ModelConfig(**fields)).fill == fill
    assert RestoreConfig(fill='circle').for_network(ModelConfig(**fields)).fill == 'circle'
